#include "runtime/cudaDevice.h"

#include <cstdio>

#include "runtime/cudaDriver.h"

// Header-only, with CUDA's toolkit: without a listening tool a range is one test of a pointer.
#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define SEMANTICVLA_HAS_NVTX 1
#endif

namespace semanticvla::runtime {

namespace {

void check(const CudaDriver& driver, CUresult result, const char* what) {
  if (result == CUDA_SUCCESS) return;
  throw Failure(FailureKind::kDevice, std::string(what) + ": " + driver.describe(result));
}

std::string hex(const CUuuid& uuid) {
  std::string text;
  for (const char byte : uuid.bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
    text += digits;
  }
  return text;
}

DeviceInfo describeDevice(const CudaDriver& driver, int index) {
  CUdevice device = 0;
  check(driver, driver.deviceGet(&device, index), "cuDeviceGet");
  DeviceInfo info;
  info.index = index;
  char name[256] = {};
  check(driver, driver.deviceGetName(name, sizeof name, device), "cuDeviceGetName");
  info.name = name;
  CUuuid uuid{};
  check(driver, driver.deviceGetUuid(&uuid, device), "cuDeviceGetUuid");
  info.uuid = hex(uuid);
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    check(driver, driver.deviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
    return value;
  };
  info.capability = 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                    attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  info.isIntegrated = attribute(CU_DEVICE_ATTRIBUTE_INTEGRATED) != 0;
  size_t total = 0;
  check(driver, driver.deviceTotalMem(&total, device), "cuDeviceTotalMem");
  info.totalBytes = total;
  check(driver, driver.driverGetVersion(&info.driverVersion), "cuDriverGetVersion");
  return info;
}

CUdeviceptr address(const void* memory) { return reinterpret_cast<CUdeviceptr>(memory); }

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : driver_(cudaDriver()), info_(describeDevice(driver_, index)) {
    check(driver_, driver_.deviceGet(&device_, index), "cuDeviceGet");
    check(driver_, driver_.primaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
  }
  ~CudaDevice() override { driver_.primaryCtxRelease(device_); }

  const DeviceInfo& info() const override { return info_; }
  void makeCurrent() override {
    check(driver_, driver_.ctxSetCurrent(context_), "cuCtxSetCurrent");
  }

  void memory(uint64_t& free, uint64_t& total) override {
    size_t freeBytes = 0, totalBytes = 0;
    check(driver_, driver_.memGetInfo(&freeBytes, &totalBytes), "cuMemGetInfo");
    free = freeBytes;
    total = totalBytes;
  }

  Stream createStream() override {
    CUstream stream = nullptr;
    check(driver_, driver_.streamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    return stream;
  }
  void destroy(Stream stream) noexcept override { driver_.streamDestroy(stream); }
  void synchronize(Stream stream) override {
    check(driver_, driver_.streamSynchronize(stream), "cuStreamSynchronize");
  }
  Event createEvent() override {
    CUevent event = nullptr;
    check(driver_, driver_.eventCreate(&event, CU_EVENT_DEFAULT), "cuEventCreate");
    return event;
  }
  void destroy(Event event) noexcept override { driver_.eventDestroy(event); }
  void record(Event event, Stream stream) override {
    check(driver_, driver_.eventRecord(event, stream), "cuEventRecord");
  }
  void recordCaptured(Event event, Stream stream) override {
    check(driver_, driver_.eventRecordWithFlags(event, stream, CU_EVENT_RECORD_EXTERNAL),
          "cuEventRecordWithFlags");
  }
  void synchronize(Event event) override {
    check(driver_, driver_.eventSynchronize(event), "cuEventSynchronize");
  }
  double milliseconds(Event begin, Event end) override {
    float value = 0;
    check(driver_, driver_.eventElapsedTime(&value, begin, end), "cuEventElapsedTime");
    return value;
  }

  void copyToDevice(void* device, const void* host, size_t bytes, Stream stream) override {
    check(driver_, driver_.memcpyHtoDAsync(address(device), host, bytes, stream),
          "cuMemcpyHtoDAsync");
  }
  void copyToHost(void* host, const void* device, size_t bytes, Stream stream) override {
    check(driver_, driver_.memcpyDtoHAsync(host, address(device), bytes, stream),
          "cuMemcpyDtoHAsync");
  }
  void copyOnDevice(void* to, const void* from, size_t bytes, Stream stream) override {
    check(driver_, driver_.memcpyDtoDAsync(address(to), address(from), bytes, stream),
          "cuMemcpyDtoDAsync");
  }

  void beginCapture(Stream stream) override {
    // Other threads of the process may allocate meanwhile; only this one may not.
    check(driver_, driver_.streamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
          "cuStreamBeginCapture");
  }
  Graph endCapture(Stream stream) override {
    CUgraph graph = nullptr;
    check(driver_, driver_.streamEndCapture(stream, &graph), "cuStreamEndCapture");
    CUgraphExec executable = nullptr;
    const CUresult result = driver_.graphInstantiate(&executable, graph, 0);
    driver_.graphDestroy(graph);
    check(driver_, result, "cuGraphInstantiate");
    // now, in the call that prepares anyway; else the first launch pays for it
    const CUresult uploaded = driver_.graphUpload(executable, stream);
    if (uploaded != CUDA_SUCCESS) driver_.graphExecDestroy(executable);
    check(driver_, uploaded, "cuGraphUpload");
    return executable;
  }
  void dropCapture(Stream stream) noexcept override {
    CUgraph graph = nullptr;
    if (driver_.streamEndCapture(stream, &graph) == CUDA_SUCCESS && graph != nullptr)
      driver_.graphDestroy(graph);
  }
  void launch(Graph graph, Stream stream) override {
    check(driver_, driver_.graphLaunch(graph, stream), "cuGraphLaunch");
  }
  void destroy(Graph graph) noexcept override { driver_.graphExecDestroy(graph); }

#ifdef SEMANTICVLA_HAS_NVTX
  void beginRange(const char* name) noexcept override { nvtxRangePushA(name); }
  void endRange() noexcept override { nvtxRangePop(); }
#endif

 protected:
  void* doAllocate(size_t bytes) override {
    CUdeviceptr memory = 0;
    const CUresult result = driver_.memAlloc(&memory, bytes);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) throw outOfMemory("device memory", bytes);
    check(driver_, result, "cuMemAlloc");
    return reinterpret_cast<void*>(memory);
  }
  void doRelease(void* memory) noexcept override { driver_.memFree(address(memory)); }
  void* doAllocatePinned(size_t bytes) override {
    void* memory = nullptr;
    const CUresult result = driver_.memHostAlloc(&memory, bytes, CU_MEMHOSTALLOC_PORTABLE);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) throw outOfMemory("pinned host memory", bytes);
    check(driver_, result, "cuMemHostAlloc");
    return memory;
  }
  void doReleasePinned(void* memory) noexcept override { driver_.memFreeHost(memory); }

 private:
  Failure outOfMemory(const char* what, size_t bytes) const {
    size_t free = 0, total = 0;
    driver_.memGetInfo(&free, &total);
    return Failure(FailureKind::kMemory,
                   std::string(what) + ": " + std::to_string(bytes) + " bytes needed, " +
                       std::to_string(free) + " free",
                   bytes, free);
  }

  const CudaDriver& driver_;
  DeviceInfo info_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
};

}  // namespace

std::vector<DeviceInfo> listCudaDevices() {
  const CudaDriver& driver = cudaDriver();
  int count = 0;
  check(driver, driver.deviceGetCount(&count), "cuDeviceGetCount");
  std::vector<DeviceInfo> devices;
  for (int i = 0; i < count; ++i) devices.push_back(describeDevice(driver, i));
  return devices;
}

std::unique_ptr<Device> openCudaDevice(int index) {
  const CudaDriver& driver = cudaDriver();
  int count = 0;
  check(driver, driver.deviceGetCount(&count), "cuDeviceGetCount");
  if (index < 0 || index >= count) {
    throw Failure(FailureKind::kDriver, "device " + std::to_string(index) +
                                            ": expected one of the " + std::to_string(count) +
                                            " GPUs that the driver shows");
  }
  auto device = std::make_unique<CudaDevice>(index);
#if SEMANTICVLA_HAS_KERNELS
  // Kernels and a runtime library of a newer major version do not start. Better said here than by
  // the first launch.
  const int found = device->info().driverVersion;
  if (found / 1000 < CUDA_VERSION / 1000) {
    throw Failure(FailureKind::kDriver,
                  "GPU driver: expected one for CUDA " + std::to_string(CUDA_VERSION / 1000) +
                      ".0 or newer, since the kernels were compiled by CUDA " +
                      std::to_string(CUDA_VERSION / 1000) + "." +
                      std::to_string(CUDA_VERSION % 1000 / 10) + ", found one for CUDA " +
                      std::to_string(found / 1000) + "." + std::to_string(found % 1000 / 10) +
                      "; update the driver, or compile with a CUDA toolkit of its version "
                      "(CUDA_HOME, npm run build:native)");
  }
#endif
  return device;
}

}  // namespace semanticvla::runtime
