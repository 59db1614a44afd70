#pragma once

#include <memory>

#include "runtime/engine.h"
#include "runtime/module.h"

namespace semanticvla::runtime {

/// Deserializes a plan, which must have been verified: TensorRT does not notice tampering. Throws
/// Failure kPlan with what TensorRT said; kernels that it rejects are compiled again.
std::unique_ptr<Engine> loadTensorRtEngine(const EntryPoints& entryPoints, Device& device,
                                           const Blob& plan, const std::vector<uint8_t>& kernels);

}  // namespace semanticvla::runtime
