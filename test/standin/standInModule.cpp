#include <cuda_runtime.h>

#include <mutex>

#include "environment.h"
#include "runtime/kernelPipeline.h"
#include "standInEngine.h"

/// TensorRT's library, its parser and our module for it, all in one file, for tests: no GPU, but
/// everything is computed. Version 0 says that it is none of TensorRT's.

namespace {

using namespace semanticvla::runtime;

fake::DeviceOptions deviceOptions() {
  fake::DeviceOptions options;
  options.name = "stand-in (no GPU: computes on the CPU)";
  options.capacity = uint64_t{8} << 30;
  options.hasThreads = true;
  return options;
}

std::vector<DeviceInfo> listDevices() { return fake::listDevices(deviceOptions()); }

std::unique_ptr<Device> openDevice(int) { return fake::openDevice(deviceOptions()); }

std::unique_ptr<Engine> loadEngine(const EntryPoints&, Device& device, const Blob& plan,
                                   const std::vector<uint8_t>&) {
  return standin::loadEngine(static_cast<fake::FakeDevice&>(device), plan);
}

const Module kModule{kModuleAbi, "standin",   {0, 1, 0, 0}, true,       standin::build,
                     nullptr,    listDevices, openDevice,   loadEngine, makeKernelPipeline};

}  // namespace

namespace shim {

/// A launch goes onto the stream; without one it runs at once. The shim has one GPU's worth of
/// state, so kernels of several streams take turns.
int put(CUstream_st* stream, std::function<int()> launch) {
  static std::mutex turn;
  const auto run = [launch = std::move(launch)] {
    const std::lock_guard<std::mutex> lock(turn);
    return launch();
  };
  if (stream == nullptr) return run();
  fake::FakeDevice::enqueue(stream, [run] {
    if (run() != cudaSuccess) throw Failure(FailureKind::kDevice, "kernel: " + shim::lastFault());
  });
  return cudaSuccess;
}

}  // namespace shim

const char* cudaGetErrorString(cudaError_t) { return shim::lastFault().c_str(); }

extern "C" {
#define EXPORTED __attribute__((visibility("default")))
EXPORTED int32_t getInferLibMajorVersion() { return 0; }
EXPORTED int32_t getInferLibMinorVersion() { return 1; }
EXPORTED int32_t getInferLibPatchVersion() { return 0; }
EXPORTED int32_t getInferLibBuildVersion() { return 0; }
EXPORTED void* createInferBuilder_INTERNAL(void*, int32_t) { return nullptr; }
EXPORTED void* createInferRuntime_INTERNAL(void*, int32_t) { return nullptr; }
EXPORTED void* createNvOnnxParser_INTERNAL(void*, void*, int) { return nullptr; }
EXPORTED const Module* semanticvlaTensorRtModule() { return &kModule; }
}
