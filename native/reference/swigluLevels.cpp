#include "reference/swigluLevels.h"

#include <cmath>

#include "reference/storage.h"

namespace semanticvla::reference {

namespace {

/// Entry of Sylvester's matrix before it is divided by the root of its size.
double sign(int64_t i, int64_t j) {
  bool isOdd = false;
  for (int64_t common = i & j; common != 0; common >>= 1) isOdd ^= (common & 1) != 0;
  return isOdd ? -1.0 : 1.0;
}

}  // namespace

std::vector<double> rotatedSwiglu(const kernels::SwigluLevelsParams& p, int64_t row) {
  const auto part = [&](int64_t column) {
    return static_cast<double>(load(p.sums, p.type, row * 2 * p.width + column)) * p.byToken[row] *
           p.byChannel[column];
  };
  std::vector<double> gated(p.width);
  for (int64_t c = 0; c < p.width; ++c) {
    const double gate = part(c);
    gated[c] = gate / (1.0 + std::exp(-gate)) * part(p.width + c);
  }
  std::vector<double> rotated(p.width);
  for (int64_t c = 0; c < p.width; ++c) {
    const int64_t first = c - c % p.block;
    double sum = 0.0;
    for (int64_t j = 0; j < p.block; ++j) sum += gated[first + j] * sign(j, c % p.block);
    rotated[c] = sum / std::sqrt(static_cast<double>(p.block));
  }
  return rotated;
}

kernels::Status swigluLevels(const kernels::SwigluLevelsParams& p) {
  const kernels::Status status = kernels::checkSwigluLevels(p);
  if (status != kernels::kOk) return status;
  for (int64_t row = 0; row < p.rows; ++row) {
    const std::vector<double> rotated = rotatedSwiglu(p, row);
    double largest = 0.0;
    bool isFinite = true;
    for (const double value : rotated) {
      isFinite = isFinite && std::isfinite(value);
      largest = std::fmax(largest, std::fabs(value));
    }
    const double scale = (largest + 1e-30) / 127.0;
    p.scales[row] = isFinite ? static_cast<float>(scale) : NAN;
    for (int64_t c = 0; c < p.width; ++c) {
      p.levels[row * p.width + c] =
          isFinite ? static_cast<int8_t>(std::nearbyint(rotated[c] / scale)) : int8_t{0};
    }
  }
  return kernels::kOk;
}

}  // namespace semanticvla::reference
