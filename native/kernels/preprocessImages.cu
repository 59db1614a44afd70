// Two launches for the whole batch, each over all frames: a resized row needs rows of the decoded
// image from several of the round trip's tiles, so those must have finished. In one launch every
// block would repeat the round trip of all it needs (five times the work for a frame of 256 x 256),
// or the grid would need a barrier, which costs what the second launch does in a CUDA graph.

#include "kernels/convert.cuh"
#include "kernels/jpegKernel.cuh"
#include "kernels/launch.cuh"
#include "kernels/preprocessImages.h"
#include "kernels/resizeKernel.cuh"

namespace semanticvla::kernels {

Status launchPreprocessImages(const PreprocessImagesParams& params, cudaStream_t stream) {
  const Status status = checkPreprocessImages(params);
  if (status != kOk) return status;
  const bool again = params.imageSide != kReferenceSide;
  PreprocessJob job{params, {}, again ? kAgainRows : kPlainRows};
  size_t next = 0;
  unsigned width = 0, height = 0;
  for (int32_t i = 0; i < params.images; ++i) {
    const PreprocessFrame& frame = params.frames[i];
    job.decoded[i] = next;
    next += decodedBytes(frame, params.jpeg);
    if (!isResized(frame)) continue;
    width = frame.width > static_cast<int32_t>(width) ? frame.width : width;
    height = frame.height > static_cast<int32_t>(height) ? frame.height : height;
  }
  const unsigned images = params.images, side = params.imageSide;
  if (params.jpeg && width > 0) {
    const dim3 tiles(ceilDivide(width + kTileShift, kTileWidth),
                     ceilDivide(height + kTileShift, kTileHeight), images);
    const Status jpeg = launch(jpegKernel, tiles, dim3(kJpegThreads), 0, stream, job);
    if (jpeg != kOk) return jpeg;
  }
  const dim3 shares(ceilDivide(side, kStrip), ceilDivide(side, job.rows), images);
  return withType(params.type, [&](auto zero) {
    using T = decltype(zero);
    return launch(again ? resizeKernel<T, true> : resizeKernel<T, false>, shares,
                  dim3(kResizeThreads), 0, stream, job);
  });
}

}  // namespace semanticvla::kernels
