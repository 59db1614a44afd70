#pragma once

// The arithmetic of libjpeg-turbo's jccolor, jcsample, jdsample and jdcolor, as
// native/reference/jpegColor.cpp has it for the CPU, one sample at a time. This software is based
// in part on the work of the Independent JPEG Group.

#include <cuda_runtime.h>

#include <cstdint>

namespace semanticvla::kernels {

/// x * 2^16, rounded.
#define FIX16(x) (static_cast<int32_t>((x) * 65536 + 0.5))

constexpr int32_t kColorHalf = 1 << 15;
constexpr int32_t kColorCenter = 128 << 16;

struct Rgb {
  int32_t r, g, b;
};

__device__ inline int32_t lumaOf(const Rgb& p) {
  return (FIX16(0.29900) * p.r + FIX16(0.58700) * p.g + FIX16(0.11400) * p.b + kColorHalf) >> 16;
}

__device__ inline int32_t blueOf(const Rgb& p) {
  return (-FIX16(0.16874) * p.r - FIX16(0.33126) * p.g + FIX16(0.5) * p.b + kColorCenter +
          kColorHalf - 1) >>
         16;
}

__device__ inline int32_t redOf(const Rgb& p) {
  return (FIX16(0.5) * p.r - FIX16(0.41869) * p.g - FIX16(0.08131) * p.b + kColorCenter +
          kColorHalf - 1) >>
         16;
}

__device__ inline uint8_t clampSample(int32_t x) {
  return static_cast<uint8_t>(x < 0 ? 0 : x > 255 ? 255 : x);
}

/// A pixel of the decoder; `blue` and `red` less 128.
__device__ inline void storeColor(int32_t luma, int32_t blue, int32_t red, uint8_t* rgb) {
  rgb[0] = clampSample(luma + ((FIX16(1.40200) * red + kColorHalf) >> 16));
  rgb[1] = clampSample(luma + ((-FIX16(0.34414) * blue - FIX16(0.71414) * red + kColorHalf) >> 16));
  rgb[2] = clampSample(luma + ((FIX16(1.77200) * blue + kColorHalf) >> 16));
}

#undef FIX16

/// Chroma of pixel (x, y): triangle filter over the two rows and columns of samples that it lies
/// between; plain repetition in rows of one or two samples. `sampleAt(column, row)` is a sample.
template <typename SampleAt>
__device__ inline int32_t upsampled(const SampleAt& sampleAt, int chromaWidth, int chromaHeight,
                                    int x, int y) {
  const int column = x / 2, row = y / 2;
  if (chromaWidth <= 2) return sampleAt(column, row);
  const int other = y % 2 == 0 ? max(row - 1, 0) : min(row + 1, chromaHeight - 1);
  const int beside = x % 2 == 0 ? max(column - 1, 0) : min(column + 1, chromaWidth - 1);
  const int32_t own = 3 * sampleAt(column, row) + sampleAt(column, other);
  const int32_t next = 3 * sampleAt(beside, row) + sampleAt(beside, other);
  return (3 * own + next + (x % 2 == 0 ? 8 : 7)) >> 4;
}

}  // namespace semanticvla::kernels
