#include "reference/centerCrop.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "support/vectorize.h"

namespace semanticvla::reference {

namespace {

/// Area of the crop relative to the image; the reference's constant.
constexpr float kCropScale = 0.9f;
/// convert_image_dtype: uint8 -> [0, 1], and back with saturation by truncation of `x * (255 +
/// 0.5)`.
constexpr float kToUnit = static_cast<float>(1.0 / 255.0);
constexpr float kFromUnit = 255.5f;

/// One source row, interpolated along x: [size * 3] float in [0, 1].
VECTORIZE void interpolateRow(const uint8_t* row, int size, const int* low, const int* high,
                              const float* lerp, float* unit, float* out) {
  for (int i = 0; i < size * 3; ++i) unit[i] = static_cast<float>(row[i]) * kToUnit;
  for (int x = 0; x < size; ++x) {
    const float* left = unit + low[x] * 3;
    const float* right = unit + high[x] * 3;
    const float t = lerp[x];
    // Four lanes at once, the last one scratch: the next pixel overwrites it and both buffers have
    // a spare element.
    float pixel[4];
    for (int c = 0; c < 4; ++c) pixel[c] = left[c] + (right[c] - left[c]) * t;
    std::memcpy(out + x * 3, pixel, sizeof(pixel));
  }
}

VECTORIZE void blendRows(const float* top, const float* bottom, float t, int count, uint8_t* out) {
  for (int i = 0; i < count; ++i) {
    float value = top[i] + (bottom[i] - top[i]) * t;
    value = std::min(std::max(value, 0.0f), 1.0f) * kFromUnit;
    out[i] = static_cast<uint8_t>(std::min(static_cast<int>(value), 255));
  }
}

}  // namespace

CropAxis centerCropAxis(int size) {
  const float side = std::sqrt(kCropScale);
  const float first = (1.0f - side) / 2.0f;
  const float last = first + side;
  const float span = static_cast<float>(size - 1);
  CropAxis axis;
  axis.low.resize(size);
  axis.high.resize(size);
  axis.lerp.resize(size);
  // One output pixel has no step: TensorFlow then samples the middle of the box.
  const float step = size > 1 ? (last - first) * span / span : 0.0f;
  for (int i = 0; i < size; ++i) {
    const float at =
        size > 1 ? first * span + static_cast<float>(i) * step : 0.5f * (first + last) * span;
    const float below = std::floor(at);
    axis.low[i] = static_cast<int>(below);
    axis.high[i] = static_cast<int>(std::ceil(at));
    axis.lerp[i] = at - below;
  }
  return axis;
}

void centerCropRows(const uint8_t* rgb, int size, const CropAxis& axis, int rowBegin, int rowEnd,
                    uint8_t* out) {
  const size_t rowLength = static_cast<size_t>(size) * 3;
  std::vector<float> unit(rowLength + 1);
  // Two rotating rows: consecutive output rows mostly share a source row.
  std::vector<float> rows[2] = {std::vector<float>(rowLength + 1),
                                std::vector<float>(rowLength + 1)};
  int held[2] = {-1, -1};
  const auto interpolated = [&](int source, int keep) {
    if (held[0] == source) return 0;
    if (held[1] == source) return 1;
    const int slot = held[0] == keep ? 1 : 0;
    interpolateRow(rgb + source * rowLength, size, axis.low.data(), axis.high.data(),
                   axis.lerp.data(), unit.data(), rows[slot].data());
    held[slot] = source;
    return slot;
  };
  for (int y = rowBegin; y < rowEnd; ++y) {
    const int top = interpolated(axis.low[y], axis.high[y]);
    const int bottom = interpolated(axis.high[y], axis.low[y]);
    blendRows(rows[top].data(), rows[bottom].data(), axis.lerp[y], static_cast<int>(rowLength),
              out + y * rowLength);
  }
}

}  // namespace semanticvla::reference
