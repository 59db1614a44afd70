// The arithmetic of libjpeg-turbo's jccolor, jcsample, jdsample and jdcolor. This software is based
// in part on the work of the Independent JPEG Group.

#include "reference/jpegColor.h"

#include <algorithm>
#include <cstring>

#include "support/vectorize.h"

namespace semanticvla::reference {

namespace {

constexpr int kBits = 16;
constexpr int32_t kHalf = 1 << (kBits - 1);
constexpr int32_t kCenter = 128 << kBits;

constexpr int32_t fix16(double x) { return static_cast<int32_t>(x * (1 << kBits) + 0.5); }

INLINE uint8_t clampSample(int32_t x) {
  return static_cast<uint8_t>(std::min(std::max(x, 0), 255));
}

}  // namespace

VECTORIZE void rgbToYccRow(const uint8_t* __restrict rgb, int width, int padded,
                           uint8_t* __restrict y, uint8_t* __restrict cb, uint8_t* __restrict cr) {
  for (int i = 0; i < width; ++i) {
    const int32_t r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
    y[i] = static_cast<uint8_t>(
        (fix16(0.29900) * r + fix16(0.58700) * g + fix16(0.11400) * b + kHalf) >> kBits);
    cb[i] = static_cast<uint8_t>(
        (-fix16(0.16874) * r - fix16(0.33126) * g + fix16(0.5) * b + kCenter + kHalf - 1) >> kBits);
    cr[i] = static_cast<uint8_t>(
        (fix16(0.5) * r - fix16(0.41869) * g - fix16(0.08131) * b + kCenter + kHalf - 1) >> kBits);
  }
  for (uint8_t* row : {y, cb, cr}) std::memset(row + width, row[width - 1], padded - width);
}

VECTORIZE void downsampleRow(const uint8_t* __restrict upper, const uint8_t* __restrict lower,
                             int width, uint8_t* __restrict out) {
  for (int i = 0; i < width; ++i) {
    const int sum = upper[2 * i] + upper[2 * i + 1] + lower[2 * i] + lower[2 * i + 1];
    out[i] = static_cast<uint8_t>((sum + 1 + (i & 1)) >> 2);
  }
}

VECTORIZE void upsampleRow(const uint8_t* __restrict near, const uint8_t* __restrict far, int width,
                           int16_t* __restrict scratch, uint8_t* __restrict out) {
  int16_t* sums = scratch + 1;
  for (int i = 0; i < width; ++i) sums[i] = static_cast<int16_t>(3 * near[i] + far[i]);
  // A border of equal sums gives the first and last column their special weights (all four parts).
  sums[-1] = sums[0];
  sums[width] = sums[width - 1];
  for (int i = 0; i < width; ++i) {
    out[2 * i] = static_cast<uint8_t>((3 * sums[i] + sums[i - 1] + 8) >> 4);
    out[2 * i + 1] = static_cast<uint8_t>((3 * sums[i] + sums[i + 1] + 7) >> 4);
  }
}

void replicateRow(const uint8_t* in, int width, uint8_t* out) {
  for (int i = 0; i < width; ++i) out[2 * i] = out[2 * i + 1] = in[i];
}

VECTORIZE void yccToRgbRow(const uint8_t* __restrict y, const uint8_t* __restrict cb,
                           const uint8_t* __restrict cr, int width, uint8_t* __restrict rgb) {
  for (int i = 0; i < width; ++i) {
    const int32_t blue = cb[i] - 128, red = cr[i] - 128, luma = y[i];
    rgb[3 * i] = clampSample(luma + ((fix16(1.40200) * red + kHalf) >> kBits));
    rgb[3 * i + 1] =
        clampSample(luma + ((-fix16(0.34414) * blue - fix16(0.71414) * red + kHalf) >> kBits));
    rgb[3 * i + 2] = clampSample(luma + ((fix16(1.77200) * blue + kHalf) >> kBits));
  }
}

}  // namespace semanticvla::reference
