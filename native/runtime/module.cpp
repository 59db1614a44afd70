#include "runtime/module.h"

#include <NvInferVersion.h>

#include "runtime/builder.h"
#include "runtime/cudaDevice.h"
#include "runtime/kernelPipeline.h"
#include "runtime/tensorRtEngine.h"

#ifndef SEMANTICVLA_HAS_KERNELS
#define SEMANTICVLA_HAS_KERNELS 0
#endif

namespace semanticvla::runtime {

namespace {

constexpr const char* familyName() {
#ifdef TRT_MAJOR_RTX
  static_assert(NV_TENSORRT_MAJOR == 1, "the RTX module is written for TensorRT-RTX 1");
  return "rtx1";
#else
  static_assert(NV_TENSORRT_MAJOR == 10 || NV_TENSORRT_MAJOR == 11,
                "written for TensorRT 10 and 11");
  return NV_TENSORRT_MAJOR == 10 ? "trt10" : "trt11";
#endif
}

constexpr Module kModule{
    kModuleAbi,
    familyName(),
    {NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH, NV_TENSORRT_BUILD},
    SEMANTICVLA_HAS_KERNELS != 0,
    buildEngine,
#ifdef TRT_MAJOR_RTX
    nullptr,
#else
    combineTimingCaches,
#endif
    listCudaDevices,
    openCudaDevice,
    loadTensorRtEngine,
#if SEMANTICVLA_HAS_KERNELS
    makeKernelPipeline,
#else
    nullptr,
#endif
};

}  // namespace

}  // namespace semanticvla::runtime

extern "C" __attribute__((visibility("default"))) const semanticvla::runtime::Module*
semanticvlaTensorRtModule() {
  return &semanticvla::runtime::kModule;
}
