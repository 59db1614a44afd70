#pragma once

#include <cuda_runtime.h>

#include "kernels/preprocessImages.h"

namespace semanticvla::kernels {

/// What a kernel of the preprocessing gets: the parameters, and where in the workspace each frame's
/// image after the round trip lies.
struct PreprocessJob {
  PreprocessImagesParams p;
  size_t decoded[kMaxFrames];
  /// Output rows of a block.
  int32_t rows;
};

__device__ inline uint8_t* decodedOf(const PreprocessJob& job, int image) {
  return static_cast<uint8_t*>(job.p.workspace) + job.decoded[image];
}

/// `isResized` is a host function.
__device__ inline bool resizes(const PreprocessFrame& frame) {
  return frame.width != kReferenceSide || frame.height != kReferenceSide;
}

}  // namespace semanticvla::kernels
