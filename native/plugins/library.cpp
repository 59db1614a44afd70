#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "plugins/creators.h"
#include "plugins/failure.h"

/// What TensorRT's `IPluginRegistry::loadLibrary` looks for (`trtexec --dynamicPlugins`): with
/// these symbols the module serves as a plugin library by itself.
extern "C" {

__attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    int32_t& count) noexcept {
  const auto& all = semanticvla::plugins::creators();
  count = static_cast<int32_t>(all.size());
  return all.data();
}

__attribute__((visibility("default"))) void setLoggerFinder(
    nvinfer1::ILoggerFinder* finder) noexcept {
  semanticvla::plugins::setFailureLog(finder);
}

}  // extern "C"

#ifndef TRT_MAJOR_RTX
namespace {

/// Triton's TensorRT backend opens a library of plugins and calls nothing in it (tensorrt.cc,
/// option `plugins`). Told so by the environment, the module registers its plugins while it is
/// opened.
__attribute__((constructor)) void registerWhereAsked() {
  if (std::getenv("SEMANTICVLA_REGISTER_PLUGINS") == nullptr) return;
  const std::string name = "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
  void* tensorRt = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  void* found = tensorRt == nullptr ? nullptr : dlsym(tensorRt, "getPluginRegistry");
  if (found == nullptr) {
    std::fprintf(stderr, "semanticvla: plugins not registered: %s is not loaded\n", name.c_str());
    return;
  }
  try {
    semanticvla::plugins::registerPlugins(
        *reinterpret_cast<nvinfer1::IPluginRegistry* (*)()>(found)());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "semanticvla: plugins not registered: %s\n", error.what());
  }
}

}  // namespace
#endif
