#include "reference/lanczosResize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/vectorize.h"

namespace semanticvla::reference {

namespace {

constexpr float kRadius = 3.0f;

float lanczos(float x) {
  constexpr float kPi = 3.14159265359f;
  if (x > kRadius) return 0.0f;
  // Limit of sin(x) / x, cut off where TensorFlow cuts it.
  if (x <= 1e-3f) return 1.0f;
  return kRadius * std::sin(kPi * x) * std::sin(kPi * x / kRadius) / (kPi * kPi * x * x);
}

/// Columns of the vertical pass that stay in registers over all taps.
constexpr int kBlock = 32;

/// out[i] = sum over k of weights[k] * rows[k * stride + i], taps in ascending order from zero, as
/// TensorFlow adds.
VECTORIZE void verticalPass(const uint8_t* __restrict rows, size_t stride,
                            const float* __restrict weights, int count, int columns,
                            float* __restrict out) {
  int begin = 0;
  for (; begin + kBlock <= columns; begin += kBlock) {
    float sum[kBlock] = {};
    for (int k = 0; k < count; ++k) {
      const uint8_t* row = rows + k * stride + begin;
      const float weight = weights[k];
      for (int i = 0; i < kBlock; ++i) sum[i] += weight * static_cast<float>(row[i]);
    }
    std::memcpy(out + begin, sum, sizeof(sum));
  }
  for (; begin < columns; ++begin) {
    float sum = 0.0f;
    for (int k = 0; k < count; ++k)
      sum += weights[k] * static_cast<float>(rows[k * stride + begin]);
    out[begin] = sum;
  }
}

using Lanes = float __attribute__((vector_size(16)));

/// One output row from one row of pixels; a pixel's three channels and one spare lane at a time.
/// `row` has a spare element at its end, `out` (floats) too.
VECTORIZE void horizontalPass(const float* __restrict row, const int* __restrict start,
                              const int* __restrict count, const float* __restrict weights,
                              int taps, int width, float* __restrict out) {
  for (int x = 0; x < width; ++x) {
    const float* pixel = row + static_cast<size_t>(start[x]) * 3;
    const float* tap = weights + static_cast<size_t>(x) * taps;
    Lanes sum = {};
    for (int k = 0; k < count[x]; ++k) {
      Lanes value;
      std::memcpy(&value, pixel + 3 * k, sizeof(value));
      sum += tap[k] * value;
    }
    std::memcpy(out + static_cast<size_t>(x) * 3, &sum, sizeof(sum));
  }
}

VECTORIZE void roundRow(const float* __restrict in, int count, uint8_t* __restrict out) {
  // Adding 1.5 * 2^23 rounds to the nearest integer, half to even, in the default rounding mode.
  constexpr float kRound = 12582912.0f;
  for (int i = 0; i < count; ++i) {
    const float rounded = (in[i] + kRound) - kRound;
    out[i] = static_cast<uint8_t>(static_cast<int>(std::min(std::max(rounded, 0.0f), 255.0f)));
  }
}

}  // namespace

ResizeAxis lanczosAxis(int inSize, int outSize) {
  const float scale = static_cast<float>(outSize) / static_cast<float>(inSize);
  const float inverse = 1.0f / scale;
  const float stretch = std::max(inverse, 1.0f);
  const float reach = kRadius * stretch;
  const float oneOverStretch = 1.0f / stretch;
  ResizeAxis axis;
  axis.taps = std::min(2 * static_cast<int>(std::ceil(reach)) + 1, inSize);
  axis.start.assign(outSize, 0);
  axis.count.assign(outSize, 0);
  axis.weights.assign(static_cast<size_t>(outSize) * axis.taps, 0.0f);
  for (int i = 0; i < outSize; ++i) {
    const float centre = (static_cast<float>(i) + 0.5f) * inverse;
    const int first = std::clamp(static_cast<int>(std::ceil(centre - reach - 0.5f)), 0, inSize - 1);
    const int last = std::clamp(static_cast<int>(std::floor(centre + reach - 0.5f)), 0, inSize - 1);
    float* weights = axis.weights.data() + static_cast<size_t>(i) * axis.taps;
    float total = 0.0f;
    axis.start[i] = first;
    // A rounded centre could reach one tap further than the table is wide.
    axis.count[i] = std::min(last - first + 1, axis.taps);
    for (int k = 0; k < axis.count[i]; ++k) {
      weights[k] =
          lanczos(std::abs((static_cast<float>(first + k) + 0.5f - centre) * oneOverStretch));
      total += weights[k];
    }
    if (std::abs(total) < 1000.0f * std::numeric_limits<float>::min()) continue;
    const float normalize = 1.0f / total;
    for (int k = 0; k < axis.count[i]; ++k) weights[k] *= normalize;
  }
  return axis;
}

void lanczosResize(const uint8_t* rgb, int inWidth, const ResizeAxis& vertical,
                   const ResizeAxis& horizontal, Team& team, uint8_t* out) {
  const int outWidth = static_cast<int>(horizontal.start.size());
  const int outHeight = static_cast<int>(vertical.start.size());
  const size_t inStride = static_cast<size_t>(inWidth) * 3;
  const size_t outStride = static_cast<size_t>(outWidth) * 3;
  team.runRows(outHeight, 1, [&](int begin, int end) {
    std::vector<float> tall(inStride + 1);
    std::vector<float> wide(outStride + 1);
    for (int y = begin; y < end; ++y) {
      verticalPass(rgb + vertical.start[y] * inStride, inStride,
                   vertical.weights.data() + static_cast<size_t>(y) * vertical.taps,
                   vertical.count[y], static_cast<int>(inStride), tall.data());
      horizontalPass(tall.data(), horizontal.start.data(), horizontal.count.data(),
                     horizontal.weights.data(), horizontal.taps, outWidth, wide.data());
      roundRow(wide.data(), static_cast<int>(outStride), out + y * outStride);
    }
  });
}

}  // namespace semanticvla::reference
