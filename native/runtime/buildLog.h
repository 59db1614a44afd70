#pragma once

#include <NvInferRuntime.h>

#include <mutex>
#include <string>
#include <vector>

#include "runtime/module.h"

namespace semanticvla::runtime {

/// TensorRT's messages: passed on, errors kept for the exception, and the layer list, which is in
/// no other place on a machine without a GPU, kept for the audit.
class BuildLog final : public nvinfer1::ILogger {
 public:
  explicit BuildLog(const Log& log) : log_(log) {}

  void log(Severity severity, const char* message) noexcept override;

  std::vector<std::string> takeLayers();
  /// The errors so far, one a line.
  std::string errors() const;
  /// The same, and forgets them: what they were about is no failure of the build.
  std::string takeErrors();

 private:
  const Log& log_;
  mutable std::mutex mutex_;
  std::vector<std::string> layers_;
  std::vector<std::string> errors_;
};

}  // namespace semanticvla::runtime
