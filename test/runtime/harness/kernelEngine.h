#pragma once

#include <memory>

#include "runtime/session.h"

namespace harness {

using namespace semanticvla::runtime;

/// Sizes of the two engines below: cameras, patches, width, text tokens, kept patches and text
/// tokens, side of the images, width of a prompt row.
constexpr int kImages = 2, kPatches = 256, kWidth = 1024, kTextTokens = 64, kKept = 32,
              kKeptText = 16, kSide = 224, kRow = 64, kRows = 8;

/// Engines of the project's own kernels behind runtime::Engine, so that a session runs on a GPU
/// without TensorRT. `prepare` makes prompt rows of an embedding table; `step` runs film,
/// instructionTopK and textGuidedPooling on its weights and passes the prompt rows and the images
/// through. Their scratch memory grows with the prompt, so that buffers move and graphs are
/// captured again.
/// @param bulk bfloat16 numbers of a further weight that is uploaded and not used; 0: none
std::unique_ptr<Engine> makeKernelEngine(Device& device, bool isStep, size_t bulk);

}  // namespace harness
