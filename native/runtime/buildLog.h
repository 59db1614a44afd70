#pragma once

#include <NvInferRuntime.h>

#include <mutex>
#include <string>
#include <vector>

#include "runtime/module.h"

namespace semanticvla::runtime {

/// TensorRT's messages. All are passed on, errors are kept for the exception, and the layer list is
/// kept for the audit: a machine without a GPU has no other source of it.
class BuildLog final : public nvinfer1::ILogger {
 public:
  explicit BuildLog(const Log& log) : log_(log) {}

  void log(Severity severity, const char* message) noexcept override;

  std::vector<std::string> takeLayers();
  /// The errors so far, one per line.
  std::string errors() const;
  /// The same, and forgets them, for errors that do not fail the build.
  std::string takeErrors();

 private:
  const Log& log_;
  mutable std::mutex mutex_;
  std::vector<std::string> layers_;
  std::vector<std::string> errors_;
};

}  // namespace semanticvla::runtime
