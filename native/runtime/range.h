#pragma once

#include "runtime/device.h"

namespace semanticvla::runtime {

/// A stage of a call, as shown by profilers (Nsight Systems), from here to the end of the block.
class Range {
 public:
  Range(Device& device, const char* name) noexcept : device_(device) { device_.beginRange(name); }
  ~Range() { device_.endRange(); }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  Device& device_;
};

}  // namespace semanticvla::runtime
