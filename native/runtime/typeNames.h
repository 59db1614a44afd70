#pragma once

#include <NvInferRuntime.h>

namespace semanticvla::runtime {

/// A tensor type as the rest of the project spells it (lib/graph/onnxModel.ts).
inline const char* typeName(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return "float32";
    case nvinfer1::DataType::kHALF:
      return "float16";
    case nvinfer1::DataType::kBF16:
      return "bfloat16";
    case nvinfer1::DataType::kINT8:
      return "int8";
    case nvinfer1::DataType::kINT32:
      return "int32";
    case nvinfer1::DataType::kINT64:
      return "int64";
    case nvinfer1::DataType::kBOOL:
      return "bool";
    case nvinfer1::DataType::kUINT8:
      return "uint8";
    case nvinfer1::DataType::kFP8:
      return "float8";
    case nvinfer1::DataType::kINT4:
      return "int4";
    default:
      return "unknown";
  }
}

}  // namespace semanticvla::runtime
