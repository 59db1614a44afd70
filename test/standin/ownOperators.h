#pragma once

#include <memory>
#include <string>

#include "onnx/ortApi.h"

namespace standin {

/// The policy's own operations in ONNX Runtime, computed by native/kernels, which the kernel tests'
/// shim compiled for this processor. One for each type: `instructionTopK_bfloat16`.
class OwnOperators {
 public:
  /// @param library ONNX Runtime's
  explicit OwnOperators(const std::string& library);
  ~OwnOperators();
  OwnOperators(const OwnOperators&) = delete;
  OwnOperators& operator=(const OwnOperators&) = delete;

  void addTo(semanticvla::onnx::OrtSessionOptions* options) const;

 private:
  struct Registered;
  std::unique_ptr<Registered> registered_;
};

}  // namespace standin
