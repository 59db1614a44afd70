#include "reference/pillowBicubic.h"

#include <algorithm>
#include <cmath>

#include "support/vectorize.h"

namespace semanticvla::reference {

namespace {

constexpr double kRadius = 2.0;
/// Fractional bits of the weights: 32 less 8 of the sample and 2 for overshoot.
constexpr int kPrecision = 22;

/// Keys' cubic with a = -0.5, in Pillow's order of operations.
double cubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * kA;
  return 0.0;
}

struct Taps {
  int start;
  std::vector<int32_t> weights;
};

std::vector<Taps> tapsOf(int inSize, int outSize) {
  const double scale = static_cast<double>(inSize) / outSize;
  const double stretch = std::max(scale, 1.0);
  const double support = kRadius * stretch;
  const double inverse = 1.0 / stretch;
  std::vector<Taps> taps(outSize);
  std::vector<double> weights;
  for (int i = 0; i < outSize; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int end = std::min(inSize, static_cast<int>(centre + support + 0.5));
    weights.clear();
    double total = 0.0;
    for (int k = first; k < end; ++k) {
      weights.push_back(cubic((k - centre + 0.5) * inverse));
      total += weights.back();
    }
    taps[i].start = first;
    for (double weight : weights) {
      const double fixed = (total != 0.0 ? weight / total : weight) * (1 << kPrecision);
      taps[i].weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return taps;
}

INLINE uint8_t toByte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
}

constexpr int32_t kRounding = 1 << (kPrecision - 1);

void horizontalRow(const uint8_t* row, const std::vector<Taps>& taps, uint8_t* out) {
  for (const Taps& tap : taps) {
    int32_t sum[3] = {kRounding, kRounding, kRounding};
    const uint8_t* pixel = row + static_cast<size_t>(tap.start) * 3;
    for (int32_t weight : tap.weights) {
      for (int c = 0; c < 3; ++c) sum[c] += *pixel++ * weight;
    }
    for (int c = 0; c < 3; ++c) *out++ = toByte(sum[c]);
  }
}

VECTORIZE void addScaled(const uint8_t* row, int32_t weight, size_t count, int32_t* sums) {
  for (size_t i = 0; i < count; ++i) sums[i] += row[i] * weight;
}

VECTORIZE void toBytes(const int32_t* sums, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) out[i] = toByte(sums[i]);
}

}  // namespace

void pillowBicubic(const uint8_t* rgb, int inWidth, int inHeight, int outWidth, int outHeight,
                   uint8_t* out) {
  const size_t inStride = static_cast<size_t>(inWidth) * 3;
  const size_t outStride = static_cast<size_t>(outWidth) * 3;
  // Pillow leaves out a pass that would not change the size.
  std::vector<uint8_t> wide;
  const uint8_t* rows = rgb;
  if (outWidth != inWidth) {
    const std::vector<Taps> taps = tapsOf(inWidth, outWidth);
    wide.resize(outStride * inHeight);
    for (int y = 0; y < inHeight; ++y)
      horizontalRow(rgb + y * inStride, taps, wide.data() + y * outStride);
    rows = wide.data();
  }
  if (outHeight == inHeight) {
    std::copy_n(rows, outStride * outHeight, out);
    return;
  }
  const std::vector<Taps> taps = tapsOf(inHeight, outHeight);
  std::vector<int32_t> sums(outStride);
  for (int y = 0; y < outHeight; ++y) {
    std::fill(sums.begin(), sums.end(), kRounding);
    const uint8_t* row = rows + taps[y].start * outStride;
    for (int32_t weight : taps[y].weights) {
      addScaled(row, weight, outStride, sums.data());
      row += outStride;
    }
    toBytes(sums.data(), outStride, out + y * outStride);
  }
}

}  // namespace semanticvla::reference
