#include "runtime/cudaDriver.h"

#include <dlfcn.h>

#include "runtime/failure.h"

namespace semanticvla::runtime {

namespace {

constexpr const char* kLibrary = "libcuda.so.1";

/// The driver that the oldest supported TensorRT needs, as 1000 * major + 10 * minor.
constexpr int kOldestDriver = 12000;

struct Names {
  void* handle;

  template <typename Function>
  void find(Function& function, const char* name) const {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    if (function != nullptr) return;
    throw Failure(FailureKind::kDriver, std::string(kLibrary) + ": expected the function " + name +
                                            ", found none; update the GPU driver");
  }
};

CudaDriver openDriver() {
  void* handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    throw Failure(FailureKind::kDriver,
                  std::string("GPU driver: expected ") + kLibrary + ", found none (" +
                      (reason == nullptr ? "cannot be opened" : reason) + ")");
  }
  const Names names{handle};
  CudaDriver driver{};
  names.find(driver.init, "cuInit");
  names.find(driver.driverGetVersion, "cuDriverGetVersion");
  names.find(driver.deviceGetCount, "cuDeviceGetCount");
  names.find(driver.deviceGet, "cuDeviceGet");
  names.find(driver.deviceGetName, "cuDeviceGetName");
  names.find(driver.deviceGetUuid, "cuDeviceGetUuid");
  names.find(driver.deviceGetAttribute, "cuDeviceGetAttribute");
  names.find(driver.deviceTotalMem, "cuDeviceTotalMem_v2");
  names.find(driver.primaryCtxRetain, "cuDevicePrimaryCtxRetain");
  names.find(driver.primaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
  names.find(driver.ctxSetCurrent, "cuCtxSetCurrent");
  names.find(driver.memAlloc, "cuMemAlloc_v2");
  names.find(driver.memFree, "cuMemFree_v2");
  names.find(driver.memHostAlloc, "cuMemHostAlloc");
  names.find(driver.memFreeHost, "cuMemFreeHost");
  names.find(driver.memGetInfo, "cuMemGetInfo_v2");
  names.find(driver.memcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
  names.find(driver.memcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
  names.find(driver.memcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
  names.find(driver.streamCreate, "cuStreamCreate");
  names.find(driver.streamDestroy, "cuStreamDestroy_v2");
  names.find(driver.streamSynchronize, "cuStreamSynchronize");
  names.find(driver.streamBeginCapture, "cuStreamBeginCapture_v2");
  names.find(driver.streamEndCapture, "cuStreamEndCapture");
  names.find(driver.eventCreate, "cuEventCreate");
  names.find(driver.eventDestroy, "cuEventDestroy_v2");
  names.find(driver.eventRecord, "cuEventRecord");
  names.find(driver.eventRecordWithFlags, "cuEventRecordWithFlags");
  names.find(driver.eventSynchronize, "cuEventSynchronize");
  names.find(driver.eventElapsedTime, "cuEventElapsedTime");
  names.find(driver.graphInstantiate, "cuGraphInstantiateWithFlags");
  names.find(driver.graphUpload, "cuGraphUpload");
  names.find(driver.graphLaunch, "cuGraphLaunch");
  names.find(driver.graphExecDestroy, "cuGraphExecDestroy");
  names.find(driver.graphDestroy, "cuGraphDestroy");
  names.find(driver.getErrorName, "cuGetErrorName");
  names.find(driver.getErrorString, "cuGetErrorString");

  int version = 0;
  if (driver.driverGetVersion(&version) == CUDA_SUCCESS && version < kOldestDriver) {
    throw Failure(FailureKind::kDriver,
                  "GPU driver: expected one for CUDA 12.0 or newer, found one for CUDA " +
                      std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10));
  }
  const CUresult result = driver.init(0);
  if (result != CUDA_SUCCESS)
    throw Failure(FailureKind::kDriver, "GPU driver: cuInit: " + driver.describe(result));
  return driver;
}

}  // namespace

std::string CudaDriver::describe(CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  getErrorName(result, &name);
  getErrorString(result, &text);
  if (name == nullptr) return "CUDA error " + std::to_string(static_cast<int>(result));
  return std::string(name) + (text == nullptr ? "" : std::string(" (") + text + ")");
}

const CudaDriver& cudaDriver() {
  // One table for the whole process, as the loader has. After a failure the next call tries again.
  static const CudaDriver driver = openDriver();
  return driver;
}

}  // namespace semanticvla::runtime
