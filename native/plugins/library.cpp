#include <NvInferRuntime.h>

#include "plugins/creators.h"
#include "plugins/failure.h"

/// What TensorRT's `IPluginRegistry::loadLibrary` looks for (`trtexec --dynamicPlugins`, Triton):
/// with these symbols the module serves as a plugin library by itself.
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
