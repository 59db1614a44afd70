#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>

#include "runtime/device.h"

namespace harness {

using namespace semanticvla::runtime;

/// A device whose memory is the host's and whose work is done at once, so that the harness and the
/// kernels run where there is no GPU. It captures nothing; test/runtime/fake has the devices that
/// check what a session does.
class HostDevice final : public Device {
 public:
  HostDevice() { info_.name = "host memory"; }
  const DeviceInfo& info() const override { return info_; }
  void makeCurrent() override {}
  void memory(uint64_t& free, uint64_t& total) override { free = total = 1U << 30; }
  Stream createStream() override { return reinterpret_cast<Stream>(this); }
  void destroy(Stream) noexcept override {}
  void synchronize(Stream) override {}
  Event createEvent() override { return reinterpret_cast<Event>(new int(0)); }
  void destroy(Event event) noexcept override { delete reinterpret_cast<int*>(event); }
  void record(Event event, Stream) override { *reinterpret_cast<int*>(event) = ++clock_; }
  void recordCaptured(Event, Stream) override { refuseCapture(); }
  void synchronize(Event) override {}
  /// Counts what was recorded: no time.
  double milliseconds(Event begin, Event end) override {
    return *reinterpret_cast<int*>(end) - *reinterpret_cast<int*>(begin);
  }
  void copyToDevice(void* to, const void* from, size_t bytes, Stream) override {
    std::memcpy(to, from, bytes);
  }
  void copyToHost(void* to, const void* from, size_t bytes, Stream) override {
    std::memcpy(to, from, bytes);
  }
  void copyOnDevice(void* to, const void* from, size_t bytes, Stream) override {
    std::memmove(to, from, bytes);
  }
  void beginCapture(Stream) override { refuseCapture(); }
  Graph endCapture(Stream) override { return nullptr; }
  void dropCapture(Stream) noexcept override {}
  void launch(Graph, Stream) override { refuseCapture(); }
  void destroy(Graph) noexcept override {}

 protected:
  void* doAllocate(size_t bytes) override {
    void* memory = nullptr;
    return posix_memalign(&memory, 256, bytes) == 0 ? memory : nullptr;
  }
  void doRelease(void* memory) noexcept override { std::free(memory); }
  void* doAllocatePinned(size_t bytes) override { return std::malloc(bytes); }
  void doReleasePinned(void* memory) noexcept override { std::free(memory); }

 private:
  static void refuseCapture() { throw Failure(FailureKind::kDevice, "host memory has no graphs"); }
  DeviceInfo info_;
  int clock_ = 0;
};

}  // namespace harness
