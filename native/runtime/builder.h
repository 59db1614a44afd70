#pragma once

#include "runtime/module.h"

namespace semanticvla::runtime {

/// One ONNX model to one plan, strongly typed. On the calling thread; several may run at once.
/// Throws std::exception with TensorRT's own last errors; a cancelled build is no error.
BuildResult buildEngine(const EntryPoints& entryPoints, const BuildRequest& request);

/// Not in the module for TensorRT-RTX. Throws std::exception.
std::vector<uint8_t> combineTimingCaches(const EntryPoints& entryPoints,
                                         const std::vector<uint8_t>& first,
                                         const std::vector<uint8_t>& second);

}  // namespace semanticvla::runtime
