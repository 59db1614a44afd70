#pragma once

#include <NvInfer.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "runtime/module.h"

namespace semanticvla::runtime {

/// Forwards TensorRT's progress callbacks, from any of its threads, to one function, which can
/// cancel the build.
class BuildProgressMonitor final : public nvinfer1::IProgressMonitor {
 public:
  explicit BuildProgressMonitor(const std::function<bool(const BuildProgress&)>& report)
      : report_(report) {}

  void phaseStart(const char* phase, const char* parent, int32_t steps) noexcept override;
  bool stepComplete(const char* phase, int32_t step) noexcept override;
  void phaseFinish(const char* phase) noexcept override;

  bool isCancelled() const;

 private:
  struct Phase {
    std::string parent;
    int32_t steps;
  };

  const std::function<bool(const BuildProgress&)>& report_;
  mutable std::mutex mutex_;
  std::map<std::string, Phase> phases_;
  bool isCancelled_ = false;
};

}  // namespace semanticvla::runtime
