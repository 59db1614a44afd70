#pragma once

// The round trip of a tile in one block: to quantized coefficients and back, and to pixels. A pixel
// needs the chroma samples beside its own, so a tile begins half a chroma block before a multiple
// of its size: its pixels then need whole luma blocks, and one row and one column of chroma blocks
// more than they cover, which two neighbours both compute.

#include "kernels/jpegColor.cuh"
#include "kernels/jpegTransform.cuh"
#include "kernels/preprocessJob.cuh"

namespace semanticvla::kernels {

/// Pixels of a tile, and where the first one begins.
constexpr int kTileWidth = 64;
constexpr int kTileHeight = 32;
constexpr int kTileShift = 8;
constexpr int kLumaAcross = kTileWidth / 8;
constexpr int kLumaBlocks = kLumaAcross * (kTileHeight / 8);
constexpr int kChromaAcross = kTileWidth / 16 + 1;
constexpr int kChromaDown = kTileHeight / 16 + 1;
constexpr int kChromaBlocks = kChromaAcross * kChromaDown;
constexpr int kBlocks = kLumaBlocks + 2 * kChromaBlocks;
/// One thread per row or column of a block, and those that only handle pixels.
constexpr int kTransformThreads = 8 * kBlocks;
constexpr int kJpegThreads = 512;
static_assert(kTransformThreads <= kJpegThreads, "a thread for each line");

struct JpegShared {
  /// Differences from 128, coefficients, then samples. Two elements of padding per row, so that 8
  /// threads walking down rows hit different banks.
  int16_t block[kBlocks][8][10];
};

__device__ const Quantization kQuantization[2] = {quantizationOf(reference::kLuminance),
                                                  quantizationOf(reference::kChrominance)};

__device__ inline Rgb pixelOf(const PreprocessFrame& frame, int x, int y) {
  const uint8_t* at = frame.pixels + (static_cast<int64_t>(y) * frame.width + x) * 3;
  return {at[frame.bgr ? 2 : 0], at[1], at[frame.bgr ? 0 : 2]};
}

__device__ inline int clamped(int x, int last) { return min(max(x, 0), last); }

__global__ void __launch_bounds__(kJpegThreads) jpegKernel(const PreprocessJob job) {
  __shared__ JpegShared shared;
  const int image = blockIdx.z, thread = threadIdx.x;
  const PreprocessFrame& frame = job.p.frames[image];
  const int left = static_cast<int>(blockIdx.x) * kTileWidth - kTileShift;
  const int top = static_cast<int>(blockIdx.y) * kTileHeight - kTileShift;
  if (!resizes(frame) || left >= frame.width || top >= frame.height) return;
  const int lastX = frame.width - 1, lastY = frame.height - 1;

  // 1. Luma. Past the right and the bottom edge the last pixel repeats.
  for (int i = thread; i < kTileWidth * kTileHeight; i += kJpegThreads) {
    const int x = i % kTileWidth, y = i / kTileWidth;
    const int luma = lumaOf(pixelOf(frame, clamped(left + x, lastX), clamped(top + y, lastY)));
    shared.block[y / 8 * kLumaAcross + x / 8][y % 8][x % 8] = static_cast<int16_t>(luma - 128);
  }

  // 2. Chroma of 2 x 2 pixels. Past the right edge the last pixel repeats, past the bottom the last
  //    row of chroma.
  const int chromaLeft = left / 2 - kTileShift / 2, chromaTop = top / 2 - kTileShift / 2;
  for (int i = thread; i < 64 * kChromaBlocks; i += kJpegThreads) {
    const int x = i % (8 * kChromaAcross), y = i / (8 * kChromaAcross);
    const int pixelX = 2 * (chromaLeft + x), pixelY = clamped(2 * (chromaTop + y), lastY / 2 * 2);
    int32_t blue = 0, red = 0;
    for (int k = 0; k < 4; ++k) {
      const Rgb pixel =
          pixelOf(frame, clamped(pixelX + k % 2, lastX), clamped(pixelY + k / 2, lastY));
      blue += blueOf(pixel);
      red += redOf(pixel);
    }
    // Rounding alternates between columns, of which `chromaLeft` is an even one.
    const int bias = 1 + (x & 1);
    const int block = kLumaBlocks + y / 8 * kChromaAcross + x / 8;
    shared.block[block][y % 8][x % 8] = static_cast<int16_t>(((blue + bias) >> 2) - 128);
    shared.block[block + kChromaBlocks][y % 8][x % 8] =
        static_cast<int16_t>(((red + bias) >> 2) - 128);
  }
  __syncthreads();

  const bool transforms = thread < kTransformThreads;
  int16_t (*const block)[10] = shared.block[transforms ? thread / 8 : 0];
  const int line = thread % 8;
  int16_t v[8];
  // 3. Forward along rows.
  if (transforms) {
    for (int i = 0; i < 8; ++i) v[i] = block[line][i];
    forwardPass<true>(v);
    for (int i = 0; i < 8; ++i) block[line][i] = v[i];
  }
  __syncthreads();

  // 4. Down columns: forward, quantization and back, inverse.
  if (transforms) {
    for (int i = 0; i < 8; ++i) v[i] = block[i][line];
    forwardPass<false>(v);
    const Quantization& table = kQuantization[thread / 8 < kLumaBlocks ? 0 : 1];
    for (int i = 0; i < 8; ++i) v[i] = quantize(v[i], table, i * 8 + line);
    inversePass(v);
    for (int i = 0; i < 8; ++i) block[i][line] = v[i];
  }
  __syncthreads();

  // 5. Inverse along rows: samples.
  if (transforms) {
    for (int i = 0; i < 8; ++i) v[i] = block[line][i];
    inversePass(v);
    for (int i = 0; i < 8; ++i) block[line][i] = sampleOf(v[i]);
  }
  __syncthreads();

  // 6. Upsampling and color, of the pixels that the image has.
  const int chromaWidth = (frame.width + 1) / 2, chromaHeight = (frame.height + 1) / 2;
  uint8_t* decoded = decodedOf(job, image);
  for (int i = thread; i < kTileWidth * kTileHeight; i += kJpegThreads) {
    const int x = left + i % kTileWidth, y = top + i / kTileWidth;
    if (x < 0 || y < 0 || x > lastX || y > lastY) continue;
    int32_t chroma[2];
    for (int plane = 0; plane < 2; ++plane) {
      const int first = kLumaBlocks + plane * kChromaBlocks;
      const auto sampleAt = [&](int column, int row) -> int32_t {
        const int cx = column - chromaLeft, cy = row - chromaTop;
        return shared.block[first + cy / 8 * kChromaAcross + cx / 8][cy % 8][cx % 8];
      };
      chroma[plane] = upsampled(sampleAt, chromaWidth, chromaHeight, x, y) - 128;
    }
    const int lumaX = x - left, lumaY = y - top;
    const int luma = shared.block[lumaY / 8 * kLumaAcross + lumaX / 8][lumaY % 8][lumaX % 8];
    storeColor(luma, chroma[0], chroma[1],
               decoded + (static_cast<int64_t>(y) * frame.width + x) * 3);
  }
}

}  // namespace semanticvla::kernels
