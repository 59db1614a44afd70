#include "reference/centerCrop.h"

#include <algorithm>
#include <cmath>

#include "support/lanes.h"
#include "support/vectorize.h"

namespace semanticvla::reference {

namespace {

/// Area of the crop relative to the image; the reference's constant.
constexpr float kCropScale = 0.9f;
/// convert_image_dtype: uint8 -> [0, 1], and back with saturation by truncation of `x * (255 +
/// 0.5)`.
constexpr float kToUnit = static_cast<float>(1.0 / 255.0);
constexpr float kFromUnit = 255.5f;

/// One source row of `size` pixels, interpolated along x: [count * 3] float in [0, 1]. Four lanes
/// hold a pixel: the last is scratch, which the next pixel overwrites; both buffers have elements
/// to spare.
VECTORIZE void interpolateRow(const uint8_t* __restrict row, int size, int count,
                              const int* __restrict low, const float* __restrict lerp,
                              float* __restrict unit, float* __restrict out) {
  for (int i = 0; i < size * 3; ++i) unit[i] = static_cast<float>(row[i]) * kToUnit;
  for (int x = 0; x < count; ++x) {
    Lanes4 left;
    Lanes4 right;
    load(left, unit + static_cast<size_t>(low[x]) * 3);
    // The neighbour is the same pixel where the sample falls on one; its weight is zero there.
    load(right, unit + static_cast<size_t>(low[x]) * 3 + 3);
    store(out + static_cast<size_t>(x) * 3, left + (right - left) * lerp[x]);
  }
}

VECTORIZE void blendRows(const float* __restrict top, const float* __restrict bottom, float t,
                         int count, uint8_t* __restrict out) {
  for (int i = 0; i < count; ++i) {
    const float value = top[i] + (bottom[i] - top[i]) * t;
    // One integer clamp replaces the clip to [0, 1] before the scaling and the saturation after it.
    const int scaled = static_cast<int>(value * kFromUnit);
    out[i] = static_cast<uint8_t>(std::min(std::max(scaled, 0), 255));
  }
}

}  // namespace

CropAxis centerCropAxis(int size, int outSize) {
  const float side = std::sqrt(kCropScale);
  const float first = (1.0f - side) / 2.0f;
  const float last = first + side;
  const float span = static_cast<float>(size - 1);
  CropAxis axis;
  axis.low.resize(outSize);
  axis.high.resize(outSize);
  axis.lerp.resize(outSize);
  // One output pixel has no step: TensorFlow then samples the middle of the box.
  const float step = outSize > 1 ? (last - first) * span / static_cast<float>(outSize - 1) : 0.0f;
  for (int i = 0; i < outSize; ++i) {
    const float at =
        outSize > 1 ? first * span + static_cast<float>(i) * step : 0.5f * (first + last) * span;
    const float below = std::floor(at);
    axis.low[i] = static_cast<int>(below);
    axis.high[i] = static_cast<int>(std::ceil(at));
    axis.lerp[i] = at - below;
  }
  return axis;
}

void centerCropRows(const uint8_t* rgb, int width, const CropAxis& horizontal,
                    const CropAxis& vertical, int rowBegin, int rowEnd, uint8_t* out) {
  const size_t rowLength = static_cast<size_t>(width) * 3;
  const int columns = static_cast<int>(horizontal.low.size());
  const size_t outLength = static_cast<size_t>(columns) * 3;
  // One pixel and one lane to spare, of finite values.
  std::vector<float> unit(rowLength + 4);
  // Two rotating rows: consecutive output rows mostly share a source row.
  std::vector<float> rows[2] = {std::vector<float>(outLength + 1),
                                std::vector<float>(outLength + 1)};
  int held[2] = {-1, -1};
  const auto interpolated = [&](int source, int keep) {
    if (held[0] == source) return 0;
    if (held[1] == source) return 1;
    const int slot = held[0] == keep ? 1 : 0;
    interpolateRow(rgb + source * rowLength, width, columns, horizontal.low.data(),
                   horizontal.lerp.data(), unit.data(), rows[slot].data());
    held[slot] = source;
    return slot;
  };
  for (int y = rowBegin; y < rowEnd; ++y) {
    const int top = interpolated(vertical.low[y], vertical.high[y]);
    const int bottom = interpolated(vertical.high[y], vertical.low[y]);
    blendRows(rows[top].data(), rows[bottom].data(), vertical.lerp[y], static_cast<int>(outLength),
              out + y * outLength);
  }
}

}  // namespace semanticvla::reference
