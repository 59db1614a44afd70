#include "onnx/ortApi.h"

#include <dlfcn.h>

#include <stdexcept>

namespace semanticvla::onnx {

namespace {

struct OrtApiBase {
  const void* const* (*getApi)(uint32_t version);
  const char* (*getVersionString)();
};

/// ONNX Runtime 1.22, the first whose loading can be cancelled.
constexpr uint32_t kApiVersion = 22;

OrtFunctions resolve(const void* const* table) {
  OrtFunctions f{};
  const auto take = [table](auto& function, size_t place) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
        const_cast<void*>(table[place]));
  };
  take(f.getErrorMessage, 2);
  take(f.createEnv, 3);
  take(f.createSession, 7);
  take(f.createSessionFromArray, 8);
  take(f.run, 9);
  take(f.createSessionOptions, 10);
  take(f.enableProfiling, 14);
  take(f.disableMemPattern, 17);
  take(f.disableCpuMemArena, 19);
  take(f.setSessionLogSeverityLevel, 22);
  take(f.setSessionGraphOptimizationLevel, 23);
  take(f.setIntraOpNumThreads, 24);
  take(f.sessionGetInputCount, 30);
  take(f.sessionGetOutputCount, 31);
  take(f.sessionGetInputName, 36);
  take(f.sessionGetOutputName, 37);
  take(f.createRunOptions, 39);
  take(f.runOptionsSetTerminate, 46);
  take(f.createTensorWithData, 49);
  take(f.getTensorMutableData, 51);
  take(f.getTensorElementType, 60);
  take(f.getDimensionsCount, 61);
  take(f.getDimensions, 62);
  take(f.getTensorTypeAndShape, 65);
  take(f.createCpuMemoryInfo, 69);
  take(f.allocatorFree, 76);
  take(f.getAllocatorWithDefaultOptions, 78);
  take(f.releaseEnv, 92);
  take(f.releaseStatus, 93);
  take(f.releaseMemoryInfo, 94);
  take(f.releaseSession, 95);
  take(f.releaseValue, 96);
  take(f.releaseRunOptions, 97);
  take(f.releaseTypeAndShape, 99);
  take(f.releaseSessionOptions, 100);
  take(f.sessionEndProfiling, 110);
  take(f.addSessionConfigEntry, 130);
  take(f.addExternalInitializers, 210);
  take(f.setLoadCancellationFlag, 293);
  return f;
}

}  // namespace

OrtApi::OrtApi(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr)
    throw std::runtime_error(std::string("ONNX Runtime's library does not open: ") + dlerror());
  const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
  if (base == nullptr)
    throw std::runtime_error(library + ": expected ONNX Runtime, found no OrtGetApiBase");
  const void* const* table = base()->getApi(kApiVersion);
  if (table == nullptr) {
    throw std::runtime_error(library + ": expected ONNX Runtime 1.22 or newer, found " +
                             base()->getVersionString());
  }
  functions_ = resolve(table);
}

void OrtApi::check(OrtStatus* status) const {
  if (status == nullptr) return;
  const std::string message = functions_.getErrorMessage(status);
  functions_.releaseStatus(status);
  throw std::runtime_error(message);
}

}  // namespace semanticvla::onnx
