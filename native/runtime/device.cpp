#include "runtime/device.h"

namespace semanticvla::runtime {

void* Device::allocate(size_t bytes, MemoryUse use) {
  void* memory = doAllocate(bytes);
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    taken_.emplace(memory, Taken{bytes, use});
  } catch (...) {
    doRelease(memory);
    throw;
  }
  return memory;
}

void Device::release(void* memory) noexcept {
  if (memory == nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    taken_.erase(memory);
  }
  doRelease(memory);
}

void* Device::allocatePinned(size_t bytes) {
  void* memory = doAllocatePinned(bytes);
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    pinned_.emplace(memory, bytes);
  } catch (...) {
    doReleasePinned(memory);
    throw;
  }
  return memory;
}

void Device::releasePinned(void* memory) noexcept {
  if (memory == nullptr) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    pinned_.erase(memory);
  }
  doReleasePinned(memory);
}

uint64_t Device::heldBytes() {
  const std::lock_guard<std::mutex> lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& [memory, taken] : taken_) bytes += taken.bytes;
  for (const auto& [memory, pinned] : pinned_) bytes += pinned;
  return bytes;
}

MemoryReport Device::report() {
  MemoryReport report;
  memory(report.freeBytes, report.totalBytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [memory, taken] : taken_)
    report.bytes[static_cast<int>(taken.use)] += taken.bytes;
  for (const auto& [memory, bytes] : pinned_) report.pinnedBytes += bytes;
  return report;
}

}  // namespace semanticvla::runtime
