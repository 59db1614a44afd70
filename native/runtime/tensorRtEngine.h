#pragma once

#include <memory>

#include "runtime/engine.h"
#include "runtime/module.h"

namespace semanticvla::runtime {

/// A plan, deserialized. `plan` was verified: TensorRT itself notices no tampering. Throws Failure kPlan with what TensorRT
/// said; kernels that it does not take are compiled again.
std::unique_ptr<Engine> loadTensorRtEngine(const EntryPoints& entryPoints, Device& device,
                                           const Blob& plan, const std::vector<uint8_t>& kernels);

}  // namespace semanticvla::runtime
