#include "runtime/buildProgress.h"

namespace semanticvla::runtime {

void BuildProgressMonitor::phaseStart(const char* phase, const char* parent,
                                      int32_t steps) noexcept {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    phases_[phase] = {parent == nullptr ? "" : parent, steps};
  } catch (...) {
    // A progress report that fails does not stop the build.
  }
}

bool BuildProgressMonitor::stepComplete(const char* phase, int32_t step) noexcept {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (isCancelled_) return false;
    const auto found = phases_.find(phase);
    if (!report_ || found == phases_.end()) return true;
    const BuildProgress progress{phase, found->second.parent, step + 1, found->second.steps};
    isCancelled_ = !report_(progress);
    return !isCancelled_;
  } catch (...) {
    return true;
  }
}

void BuildProgressMonitor::phaseFinish(const char* phase) noexcept {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    phases_.erase(phase);
  } catch (...) {
    // as above
  }
}

bool BuildProgressMonitor::isCancelled() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return isCancelled_;
}

}  // namespace semanticvla::runtime
