#pragma once

#include <NvInferRuntime.h>

#include <cstdint>

namespace semanticvla::plugins {

/// One number of a field collection: ONNX attributes arrive as vectors of length 1 (`ints`) or
/// scalars, serialized ones as we wrote them. Throws when it is missing, of another type or length.
int32_t integerField(const nvinfer1::PluginFieldCollection* fields, const char* plugin,
                     const char* name);
float floatField(const nvinfer1::PluginFieldCollection* fields, const char* plugin,
                 const char* name);

}  // namespace semanticvla::plugins
