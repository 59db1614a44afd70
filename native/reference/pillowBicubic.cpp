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

INLINE uint8_t toByte(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
}

constexpr int32_t kRounding = 1 << (kPrecision - 1);

void horizontalRow(const uint8_t* row, const BicubicAxis& axis, uint8_t* out) {
  for (size_t x = 0; x < axis.start.size(); ++x) {
    int32_t sum[3] = {kRounding, kRounding, kRounding};
    const uint8_t* pixel = row + static_cast<size_t>(axis.start[x]) * 3;
    const int32_t* weights = axis.weights.data() + x * axis.taps;
    for (int k = 0; k < axis.count[x]; ++k) {
      for (int c = 0; c < 3; ++c) sum[c] += *pixel++ * weights[k];
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

BicubicAxis pillowBicubicAxis(int inSize, int outSize) {
  const double scale = static_cast<double>(inSize) / outSize;
  const double stretch = std::max(scale, 1.0);
  const double support = kRadius * stretch;
  const double inverse = 1.0 / stretch;
  BicubicAxis axis;
  for (int i = 0; i < outSize; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int end = std::min(inSize, static_cast<int>(centre + support + 0.5));
    axis.start.push_back(first);
    axis.count.push_back(end - first);
    axis.taps = std::max(axis.taps, end - first);
  }
  axis.weights.assign(static_cast<size_t>(outSize) * axis.taps, 0);
  std::vector<double> weights;
  for (int i = 0; i < outSize; ++i) {
    const double centre = (i + 0.5) * scale;
    weights.clear();
    double total = 0.0;
    for (int k = axis.start[i]; k < axis.start[i] + axis.count[i]; ++k) {
      weights.push_back(cubic((k - centre + 0.5) * inverse));
      total += weights.back();
    }
    for (int k = 0; k < axis.count[i]; ++k) {
      const double fixed = (total != 0.0 ? weights[k] / total : weights[k]) * (1 << kPrecision);
      axis.weights[static_cast<size_t>(i) * axis.taps + k] =
          static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
  }
  return axis;
}

void pillowBicubic(const uint8_t* rgb, int inWidth, int inHeight, int outWidth, int outHeight,
                   uint8_t* out) {
  const size_t inStride = static_cast<size_t>(inWidth) * 3;
  const size_t outStride = static_cast<size_t>(outWidth) * 3;
  // Pillow leaves out a pass that would not change the size.
  std::vector<uint8_t> wide;
  const uint8_t* rows = rgb;
  if (outWidth != inWidth) {
    const BicubicAxis axis = pillowBicubicAxis(inWidth, outWidth);
    wide.resize(outStride * inHeight);
    for (int y = 0; y < inHeight; ++y)
      horizontalRow(rgb + y * inStride, axis, wide.data() + y * outStride);
    rows = wide.data();
  }
  if (outHeight == inHeight) {
    std::copy_n(rows, outStride * outHeight, out);
    return;
  }
  const BicubicAxis axis = pillowBicubicAxis(inHeight, outHeight);
  std::vector<int32_t> sums(outStride);
  for (int y = 0; y < outHeight; ++y) {
    std::fill(sums.begin(), sums.end(), kRounding);
    const uint8_t* row = rows + axis.start[y] * outStride;
    const int32_t* weights = axis.weights.data() + static_cast<size_t>(y) * axis.taps;
    for (int k = 0; k < axis.count[y]; ++k) {
      addScaled(row, weights[k], outStride, sums.data());
      row += outStride;
    }
    toBytes(sums.data(), outStride, out + y * outStride);
  }
}

}  // namespace semanticvla::reference
