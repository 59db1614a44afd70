#include "runtime/buildLog.h"

#include <cstring>
#include <utility>

namespace semanticvla::runtime {

namespace {

constexpr const char* kLayersMark = "Layers:";
/// The first errors explain, the rest follow from them.
constexpr size_t kMostErrors = 8;

}  // namespace

void BuildLog::log(Severity severity, const char* message) noexcept {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (severity <= Severity::kERROR && errors_.size() < kMostErrors) errors_.emplace_back(message);
    if (severity == Severity::kVERBOSE &&
        std::strncmp(message, kLayersMark, std::strlen(kLayersMark)) == 0) {
      layers_.emplace_back(message);
      return;
    }
    if (log_) log_(static_cast<runtime::Severity>(severity), message);
  } catch (...) {
    // A message that cannot be kept must not end the process: TensorRT calls this from noexcept
    // code.
  }
}

std::vector<std::string> BuildLog::takeLayers() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(layers_, {});
}

std::string BuildLog::errors() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string all;
  for (const std::string& error : errors_) all += (all.empty() ? "" : "\n") + error;
  return all;
}

std::string BuildLog::takeErrors() {
  const std::string all = errors();
  const std::lock_guard<std::mutex> lock(mutex_);
  errors_.clear();
  return all;
}

}  // namespace semanticvla::runtime
