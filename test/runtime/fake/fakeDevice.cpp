#include "fakeDevice.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace fake {

namespace {

template <typename To, typename From>
To* as(From* handle) {
  return reinterpret_cast<To*>(handle);
}

}  // namespace

FakeDevice::FakeDevice(const DeviceOptions& options, std::shared_ptr<DeviceRecord> record)
    : options_(options), record_(std::move(record)) {
  info_.name = options.name;
  info_.uuid = "fa4e";
  info_.capability = options.capability;
  info_.totalBytes = options.capacity;
  info_.driverVersion = options.driverVersion;
}

FakeDevice::~FakeDevice() {
  for (const auto& [memory, bytes] : memory_) std::free(memory);
  for (const auto& [memory, bytes] : pinned_) std::free(memory);
}

void FakeDevice::step(const char* name, size_t allocation) {
  ++record_->calls;
  if (isBroken_)
    throw Failure(FailureKind::kDevice, std::string(name) + ": an earlier call broke the device");
  if (record_->calls != options_.failAt) return;
  if (allocation > 0) {
    throw Failure(FailureKind::kMemory, std::string(name) + ": made to fail", allocation,
                  options_.capacity - record_->liveBytes);
  }
  isBroken_ = options_.isSticky;
  throw Failure(FailureKind::kDevice, std::string(name) + ": made to fail");
}

void FakeDevice::makeCurrent() { step("makeCurrent"); }

void FakeDevice::memory(uint64_t& free, uint64_t& total) {
  step("memory");
  free = options_.capacity - record_->liveBytes;
  total = options_.capacity;
}

void* FakeDevice::doAllocate(size_t bytes) {
  step("allocate", bytes);
  if (record_->liveBytes + bytes > options_.capacity) {
    const uint64_t free = options_.capacity - record_->liveBytes;
    throw Failure(FailureKind::kMemory,
                  "device memory: " + std::to_string(bytes) + " bytes needed, " +
                      std::to_string(free) + " free",
                  bytes, free);
  }
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  std::memset(memory, 0xcd, bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  memory_[memory] = bytes;
  record_->liveBytes += bytes;
  if (record_->liveBytes > record_->peakBytes) record_->peakBytes = record_->liveBytes;
  return memory;
}

void FakeDevice::doRelease(void* memory) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = memory_.find(static_cast<uint8_t*>(memory));
    if (found != memory_.end()) {
      record_->liveBytes -= found->second;
      memory_.erase(found);
      std::free(memory);
      return;
    }
  }
  fault("released device memory that is not there");
}

void* FakeDevice::doAllocatePinned(size_t bytes) {
  step("allocatePinned", bytes);
  auto* memory = static_cast<uint8_t*>(std::malloc(bytes));
  std::memset(memory, 0xcd, bytes);
  const std::lock_guard<std::mutex> lock(mutex_);
  pinned_[memory] = bytes;
  record_->livePinnedBytes += bytes;
  return memory;
}

void FakeDevice::doReleasePinned(void* memory) noexcept {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = pinned_.find(static_cast<uint8_t*>(memory));
    if (found != pinned_.end()) {
      record_->livePinnedBytes -= found->second;
      pinned_.erase(found);
      std::free(memory);
      return;
    }
  }
  fault("released pinned memory that is not there");
}

bool FakeDevice::covers(const std::map<uint8_t*, size_t>& regions, const void* memory,
                        size_t bytes) {
  const auto* begin = static_cast<const uint8_t*>(memory);
  auto after = regions.upper_bound(const_cast<uint8_t*>(begin));
  if (after == regions.begin()) return false;
  --after;
  return begin + bytes <= after->first + after->second;
}

void FakeDevice::use(const void* memory, size_t bytes, const char* what) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes == 0 || covers(memory_, memory, bytes)) return;
  }
  fault(std::string(what) + ": " + std::to_string(bytes) + " bytes that are not in device memory");
  throw Failure(FailureKind::kDevice, std::string(what) + ": illegal address");
}

void FakeDevice::usePinned(const void* memory, size_t bytes) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (covers(pinned_, memory, bytes)) return;
  }
  fault(std::to_string(bytes) + " bytes of a copy that are not in pinned memory");
  throw Failure(FailureKind::kDevice, "copy: illegal address");
}

Stream FakeDevice::createStream() {
  step("createStream");
  ++record_->liveHandles;
  auto* stream = new FakeStream();
  if (options_.hasThreads) stream->thread = std::thread([this, stream] { workAlone(*stream); });
  return as<CUstream_st>(stream);
}

void FakeDevice::destroy(Stream handle) noexcept {
  FakeStream& stream = *as<FakeStream>(handle);
  if (!isIdle(stream) && !isBroken_) fault("a stream was destroyed with work on it");
  if (stream.thread.joinable()) {
    {
      const std::lock_guard<std::mutex> lock(stream.mutex);
      stream.isEnding = true;
    }
    stream.changed.notify_all();
    stream.thread.join();
  }
  delete &stream;
  --record_->liveHandles;
}

/// The life of a stream's thread. What fails takes everything behind it along, as on a device.
void FakeDevice::workAlone(FakeStream& stream) {
  std::unique_lock<std::mutex> lock(stream.mutex);
  for (;;) {
    stream.changed.wait(lock, [&] { return stream.isEnding || !stream.work.empty(); });
    if (stream.isEnding) return;
    const Work work = std::move(stream.work.front());
    stream.work.pop_front();
    stream.isWorking = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      // the host is to be faster, so that a missing wait shows
      if (options_.wrong == "noWait") std::this_thread::sleep_for(std::chrono::milliseconds(5));
      work();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    stream.isWorking = false;
    if (failure != nullptr && stream.failure == nullptr) stream.failure = failure;
    if (stream.failure != nullptr) stream.work.clear();
    stream.changed.notify_all();
  }
}

bool FakeDevice::isIdle(FakeStream& stream) {
  const std::lock_guard<std::mutex> lock(stream.mutex);
  return stream.work.empty() && !stream.isWorking;
}

void FakeDevice::waitFor(FakeStream& stream) {
  std::unique_lock<std::mutex> lock(stream.mutex);
  stream.changed.wait(lock, [&] { return stream.work.empty() && !stream.isWorking; });
  // an illegal address breaks a device for good
  if (stream.failure != nullptr) std::rethrow_exception(stream.failure);
}

void FakeDevice::copyLate() {
  for (const Work& copy : std::exchange(late_, {})) copy();
}

void FakeDevice::enqueue(Stream handle, Work work) {
  FakeStream& stream = *as<FakeStream>(handle);
  if (stream.isCapturing) {
    stream.captured.push_back(std::move(work));
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(stream.mutex);
    stream.work.push_back(std::move(work));
  }
  stream.changed.notify_all();
}

void FakeDevice::synchronize(Stream handle) {
  FakeStream& stream = *as<FakeStream>(handle);
  try {
    step("synchronize");
  } catch (...) {
    // what failed takes everything behind it along
    const std::lock_guard<std::mutex> lock(stream.mutex);
    stream.work.clear();
    throw;
  }
  if (stream.isCapturing) fault("waited for a stream that is being captured");
  if (options_.wrong == "noWait") return;
  if (options_.hasThreads) {
    waitFor(stream);
    copyLate();
    return;
  }
  while (!stream.work.empty()) {
    const Work work = std::move(stream.work.front());
    stream.work.pop_front();
    work();
  }
}

Event FakeDevice::createEvent() {
  step("createEvent");
  ++record_->liveHandles;
  return as<CUevent_st>(new FakeEvent());
}

void FakeDevice::destroy(Event event) noexcept {
  delete as<FakeEvent>(event);
  --record_->liveHandles;
}

void FakeDevice::record(Event handle, Stream stream) {
  step("record");
  // a real one could not be timed afterwards
  if (as<FakeStream>(stream)->isCapturing) fault("recorded an event of the outside in a capture");
  put(as<FakeEvent>(handle), as<FakeStream>(stream));
}

void FakeDevice::recordCaptured(Event handle, Stream stream) {
  step("recordCaptured");
  if (!as<FakeStream>(stream)->isCapturing)
    fault("recorded an event of a graph outside of a capture");
  put(as<FakeEvent>(handle), as<FakeStream>(stream));
}

void FakeDevice::put(FakeEvent* event, FakeStream* stream) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    event->stream = stream;
    ++event->recorded;
  }
  // a graph records it again whenever it runs
  const int count = stream->isCapturing ? 0 : event->recorded;
  enqueue(as<CUstream_st>(stream), [this, event, count] {
    const std::lock_guard<std::mutex> lock(mutex_);
    event->passed = count == 0 ? event->recorded : count;
    event->ms = now();
  });
}

/// Of a stream that works by itself the clock's, else how many events there were.
double FakeDevice::now() {
  if (!options_.hasThreads) return ++clock_;
  const std::chrono::duration<double, std::milli> time =
      std::chrono::steady_clock::now().time_since_epoch();
  return time.count();
}

bool FakeDevice::isOver(const FakeEvent& event) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return event.passed == event.recorded;
}

void FakeDevice::beginRange(const char* name) noexcept {
  std::vector<std::string>& open = record_->openRanges;
  open.push_back(open.empty() ? name : open.back() + "/" + name);
  record_->ranges.push_back(open.back());
}

void FakeDevice::endRange() noexcept {
  if (record_->openRanges.empty()) return fault("ended a range that was never begun");
  record_->openRanges.pop_back();
}

void FakeDevice::synchronize(Event handle) {
  step("synchronize an event");
  FakeEvent& event = *as<FakeEvent>(handle);
  if (options_.hasThreads) {
    FakeStream& stream = *event.stream;
    std::unique_lock<std::mutex> lock(stream.mutex);
    stream.changed.wait(lock, [&] { return stream.failure != nullptr || isOver(event); });
    if (stream.failure != nullptr) std::rethrow_exception(stream.failure);
    lock.unlock();
    copyLate();
    return;
  }
  while (!isOver(event)) {
    const Work work = std::move(event.stream->work.front());
    event.stream->work.pop_front();
    work();
  }
}

double FakeDevice::milliseconds(Event begin, Event end) {
  step("milliseconds");
  if (!isOver(*as<FakeEvent>(begin)) || !isOver(*as<FakeEvent>(end))) {
    fault("timed an event that is not over");
    if (options_.hasThreads) throw Failure(FailureKind::kDevice, "cuEventElapsedTime: not ready");
  }
  return as<FakeEvent>(end)->ms - as<FakeEvent>(begin)->ms;
}

void FakeDevice::copyToDevice(void* device, const void* host, size_t bytes, Stream stream) {
  step("copyToDevice");
  record_->copiedToDevice += bytes;
  const Work copy = [=] {
    usePinned(host, bytes);
    use(device, bytes, "copy to the device");
    std::memcpy(device, host, bytes);
  };
  if (options_.wrong == "lateCopies" && record_->captures > 0) return late_.push_back(copy);
  enqueue(stream, copy);
}

void FakeDevice::copyToHost(void* host, const void* device, size_t bytes, Stream stream) {
  step("copyToHost");
  enqueue(stream, [=] {
    usePinned(host, bytes);
    use(device, bytes, "copy to the host");
    std::memcpy(host, device, bytes);
  });
}

void FakeDevice::copyOnDevice(void* to, const void* from, size_t bytes, Stream stream) {
  step("copyOnDevice");
  if (options_.wrong == "staleState" && !copied_.insert(to).second) return;
  enqueue(stream, [=] {
    use(to, bytes, "copy on the device");
    use(from, bytes, "copy on the device");
    std::memcpy(to, from, bytes);
  });
}

void FakeDevice::beginCapture(Stream handle) {
  step("beginCapture");
  FakeStream& stream = *as<FakeStream>(handle);
  ++record_->capturesTried;
  if (!isIdle(stream)) fault("a capture began before the stream was empty");
  stream.isCapturing = true;
  stream.captured.clear();
}

Graph FakeDevice::endCapture(Stream handle) {
  FakeStream& stream = *as<FakeStream>(handle);
  stream.isCapturing = false;
  step("endCapture");
  if (!options_.captures) throw Failure(FailureKind::kDevice, "cuStreamEndCapture: made to fail");
  ++record_->captures;
  ++record_->liveHandles;
  return as<CUgraphExec_st>(new FakeGraph{std::move(stream.captured)});
}

void FakeDevice::dropCapture(Stream handle) noexcept {
  FakeStream& stream = *as<FakeStream>(handle);
  stream.isCapturing = false;
  stream.captured.clear();
}

void FakeDevice::launch(Graph graph, Stream stream) {
  step("launch");
  ++record_->launches;
  for (const Work& work : as<FakeGraph>(graph)->work) enqueue(stream, work);
}

void FakeDevice::destroy(Graph graph) noexcept {
  delete as<FakeGraph>(graph);
  --record_->liveHandles;
}

}  // namespace fake
