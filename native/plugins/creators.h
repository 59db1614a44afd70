#pragma once

#include <NvInferRuntime.h>

#include <vector>

namespace semanticvla::plugins {

/// One creator a plugin. They live as long as the module: TensorRT's registry keeps pointers to
/// them.
const std::vector<nvinfer1::IPluginCreatorInterface*>& creators();

/// Makes the plugins known to a registry: each builder and each runtime has its own. Throws when it
/// refuses one.
void registerPlugins(nvinfer1::IPluginRegistry& registry);

}  // namespace semanticvla::plugins
