#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <vector>

#include "plugins/operation.h"

namespace semanticvla::plugins {

/// How TensorRT gets a plugin: by its name, from the fields that it is told of.
struct Kind {
  const char* name;
  std::vector<nvinfer1::PluginField> fields;
  /// Throws when a field is missing or out of range.
  std::unique_ptr<Operation> (*fromFields)(const nvinfer1::PluginFieldCollection* fields);
};

/// ID-Pruner, patch side. patches [I, N, W], text [M, W], mask [M] bool -> kept [I, k, W], indices
/// int64 [I, k] ascending, similarity float32 [I, N, M]. Kernel: native/kernels/instructionTopK.
Kind instructionTopK();

/// ID-Pruner, text side. patches [I, N, W], similarity float32 [I, N, M] -> pooled [I, k, W],
/// indices int64 [I, k] ascending. Kernel: native/kernels/textGuidedPooling.
Kind textGuidedPooling();

/// Sparse fusion, first half: left [I, K, A], right [I, K, B] -> joined [I, K, A + B]. Kernel:
/// native/kernels/channelConcat.
Kind channelConcat();

/// What `down` reads in 8 bits: raw sums of gate and up [L, 2 F], their scales byToken float32 [L,
/// 1] and byChannel float32 [1, 2 F] -> levels int8 [L, F], scales float32 [L, 1]. Kernel:
/// native/kernels/swigluLevels.
Kind swigluLevels();

}  // namespace semanticvla::plugins
