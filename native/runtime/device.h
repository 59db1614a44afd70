#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "runtime/failure.h"

// The driver's own declarations, repeated so that this header needs no CUDA header.
struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace semanticvla::runtime {

using Stream = CUstream_st*;
using Event = CUevent_st*;
using Graph = CUgraphExec_st*;

struct DeviceInfo {
  int index = 0;
  std::string name;
  /// Distinguishes two cards of one name.
  std::string uuid;
  /// Compute capability as 10 * major + minor (89).
  int capability = 0;
  uint64_t totalBytes = 0;
  /// CUDA version that the driver supports, as 1000 * major + 10 * minor (13000).
  int driverVersion = 0;
  bool isIntegrated = false;
};

/// What device memory is used for.
enum class MemoryUse { kWeights, kStates, kTransfers, kScratch, kEngines };
constexpr int kMemoryUses = 5;

struct MemoryReport {
  /// Bytes in use now, by purpose.
  uint64_t bytes[kMemoryUses] = {};
  uint64_t pinnedBytes = 0;
  uint64_t freeBytes = 0;
  uint64_t totalBytes = 0;
};

/// One GPU. Everything that the session does with CUDA goes through here, so that all of it also
/// runs on the device of the tests, which has no GPU. Every call but the noexcept ones throws
/// Failure. Used from one thread at a time.
class Device {
 public:
  virtual ~Device() = default;
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual const DeviceInfo& info() const = 0;
  /// Before the first call on a thread.
  virtual void makeCurrent() = 0;

  /// Device memory, aligned to 256 at least.
  void* allocate(size_t bytes, MemoryUse use);
  void release(void* memory) noexcept;
  /// Pinned host memory, which the device copies from and to by itself.
  void* allocatePinned(size_t bytes);
  void releasePinned(void* memory) noexcept;
  MemoryReport report();
  /// Bytes in use now, of the device and pinned together.
  uint64_t heldBytes();
  /// Free and total bytes of the device.
  virtual void memory(uint64_t& free, uint64_t& total) = 0;

  virtual Stream createStream() = 0;
  virtual void destroy(Stream stream) noexcept = 0;
  /// Waits for everything on the stream; failures of its work are thrown here.
  virtual void synchronize(Stream stream) = 0;
  virtual Event createEvent() = 0;
  virtual void destroy(Event event) noexcept = 0;
  virtual void record(Event event, Stream stream) = 0;
  /// Within a capture: a node of the graph that records at each launch, for `milliseconds` to read
  /// outside the graph.
  virtual void recordCaptured(Event event, Stream stream) = 0;
  virtual void synchronize(Event event) = 0;
  /// Between two events that have passed.
  virtual double milliseconds(Event begin, Event end) = 0;

  /// Asynchronous copies. `host` is pinned and stays as it is until the stream has passed.
  virtual void copyToDevice(void* device, const void* host, size_t bytes, Stream stream) = 0;
  virtual void copyToHost(void* host, const void* device, size_t bytes, Stream stream) = 0;
  virtual void copyOnDevice(void* to, const void* from, size_t bytes, Stream stream) = 0;

  /// From here to `endCapture`, work put on the stream becomes a graph instead of running.
  virtual void beginCapture(Stream stream) = 0;
  virtual Graph endCapture(Stream stream) = 0;
  /// Ends a capture that failed halfway.
  virtual void dropCapture(Stream stream) noexcept = 0;
  virtual void launch(Graph graph, Stream stream) = 0;
  virtual void destroy(Graph graph) noexcept = 0;

  /// A range of this thread for profilers (NVTX); does nothing when none is attached. Ranges nest.
  virtual void beginRange(const char*) noexcept {}
  virtual void endRange() noexcept {}

 protected:
  virtual void* doAllocate(size_t bytes) = 0;
  virtual void doRelease(void* memory) noexcept = 0;
  virtual void* doAllocatePinned(size_t bytes) = 0;
  virtual void doReleasePinned(void* memory) noexcept = 0;

 private:
  struct Taken {
    size_t bytes;
    MemoryUse use;
  };
  /// TensorRT allocates from its own threads.
  std::mutex mutex_;
  std::map<void*, Taken> taken_;
  std::map<void*, size_t> pinned_;
};

}  // namespace semanticvla::runtime
