#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "runtime/device.h"

namespace fake {

using namespace semanticvla::runtime;

struct DeviceOptions {
  uint64_t capacity = 1U << 30;
  /// The call, counted from 1, that fails: allocations as out of memory, all others as a CUDA
  /// error. 0: none.
  int failAt = 0;
  /// After a CUDA error every later call fails too, as on a real device.
  bool isSticky = true;
  /// false: no capture succeeds, and the device goes on.
  bool captures = true;
  /// What engines say when they are asked whether they can be captured.
  bool isCapturable = true;
  int capability = 89;
  int driverVersion = 13000;
  std::string name = "Fake GPU";
  /// Each stream has a thread that works while the host goes on, and events have times; else work
  /// waits until somebody waits for it.
  bool hasThreads = false;
  /// A mistake that is made on purpose; empty: none. Of the device: `noWait` (waiting for a stream
  /// returns at once), `lateCopies` (once a graph was captured, what is copied to the device comes
  /// after the work that reads it, as on another stream that nobody waits for), `staleState` (what
  /// was copied on the device once is not copied there again).
  std::string wrong;
};

/// What is left of a device after it is gone.
struct DeviceRecord {
  int calls = 0;
  uint64_t liveBytes = 0;
  uint64_t livePinnedBytes = 0;
  int liveHandles = 0;
  uint64_t peakBytes = 0;
  uint64_t copiedToDevice = 0;
  int captures = 0;
  /// Begun, whether they came to an end or not.
  int capturesTried = 0;
  int launches = 0;
  /// Ranges that were begun, each as its path: `policy/h2d`.
  std::vector<std::string> ranges;
  std::vector<std::string> openRanges;
  /// Sizes that an engine had no kernels for.
  int compiled = 0;
  /// What no correct program does: use of memory that is not there, pageable memory in an
  /// asynchronous copy, ...
  std::vector<std::string> faults;
};

/// A GPU of ordinary memory. What is put on a stream runs only when somebody waits for it, so that
/// a missing wait shows, or on the stream's own thread; every address is checked when it is used.
/// Memory is filled with a pattern when it is given out.
class FakeDevice final : public Device {
 public:
  FakeDevice(const DeviceOptions& options, std::shared_ptr<DeviceRecord> record);
  ~FakeDevice() override;

  const DeviceInfo& info() const override { return info_; }
  void makeCurrent() override;
  void memory(uint64_t& free, uint64_t& total) override;
  Stream createStream() override;
  void destroy(Stream stream) noexcept override;
  void synchronize(Stream stream) override;
  Event createEvent() override;
  void destroy(Event event) noexcept override;
  void record(Event event, Stream stream) override;
  void recordCaptured(Event event, Stream stream) override;
  void synchronize(Event event) override;
  double milliseconds(Event begin, Event end) override;
  void copyToDevice(void* device, const void* host, size_t bytes, Stream stream) override;
  void copyToHost(void* host, const void* device, size_t bytes, Stream stream) override;
  void copyOnDevice(void* to, const void* from, size_t bytes, Stream stream) override;
  void beginCapture(Stream stream) override;
  Graph endCapture(Stream stream) override;
  void dropCapture(Stream stream) noexcept override;
  void launch(Graph graph, Stream stream) override;
  void destroy(Graph graph) noexcept override;
  void beginRange(const char* name) noexcept override;
  void endRange() noexcept override;

  using Work = std::function<void()>;
  const DeviceOptions& options() const { return options_; }
  void countCompiled() { ++record_->compiled; }
  bool isCapturable() const { return options_.isCapturable; }
  /// Counts a call that may fail.
  void step(const char* name, size_t allocation = 0);
  static void enqueue(Stream stream, Work work);
  /// Of the work itself: `bytes` from `memory` on are device memory that is still there.
  void use(const void* memory, size_t bytes, const char* what);

 protected:
  void* doAllocate(size_t bytes) override;
  void doRelease(void* memory) noexcept override;
  void* doAllocatePinned(size_t bytes) override;
  void doReleasePinned(void* memory) noexcept override;

 private:
  struct FakeStream {
    std::deque<Work> work;
    bool isCapturing = false;
    std::vector<Work> captured;
    /// Of a stream that works by itself.
    std::thread thread;
    std::mutex mutex;
    std::condition_variable changed;
    bool isWorking = false;
    bool isEnding = false;
    std::exception_ptr failure;
  };
  struct FakeEvent {
    FakeStream* stream = nullptr;
    /// How often it was recorded, and up to which of them the stream has come.
    int recorded = 0;
    int passed = 0;
    double ms = 0;
  };
  struct FakeGraph {
    std::vector<Work> work;
  };
  void put(FakeEvent* event, FakeStream* stream);
  void usePinned(const void* memory, size_t bytes);
  void fault(const std::string& text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    record_->faults.push_back(text);
  }
  bool isOver(const FakeEvent& event);
  static bool isIdle(FakeStream& stream);
  void workAlone(FakeStream& stream);
  void waitFor(FakeStream& stream);
  void copyLate();
  double now();
  static bool covers(const std::map<uint8_t*, size_t>& regions, const void* memory, size_t bytes);

  DeviceOptions options_;
  std::shared_ptr<DeviceRecord> record_;
  DeviceInfo info_;
  std::map<uint8_t*, size_t> memory_;
  std::map<uint8_t*, size_t> pinned_;
  bool isBroken_ = false;
  int clock_ = 0;
  /// Copies that come too late, and where something was copied on the device.
  std::vector<Work> late_;
  std::set<void*> copied_;
  /// Streams' threads look at memory, events and faults too.
  std::mutex mutex_;
};

}  // namespace fake
