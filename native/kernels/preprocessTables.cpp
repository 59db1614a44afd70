#include "kernels/preprocessTables.h"

#include <algorithm>

#include "reference/centerCrop.h"
#include "reference/lanczosResize.h"
#include "reference/pillowBicubic.h"

namespace semanticvla::kernels {

namespace {

static_assert(sizeof(int) == sizeof(int32_t), "the reference counts in int");

/// Most outputs in a row whose taps lie within kMaxColumns columns, of which the first is a
/// multiple of four and the last one's end too.
int32_t outputsWithin(const std::vector<int>& start, const std::vector<int>& count) {
  const int outputs = static_cast<int>(start.size());
  for (int at = outputs;; --at) {
    bool fits = true;
    for (int first = 0; first < outputs; first += at) {
      const int last = std::min(first + at, outputs) - 1;
      const int columns = (start[last] + count[last] + 3) / 4 * 4 - start[first] / 4 * 4;
      fits = fits && columns <= kMaxColumns;
    }
    if (fits || at == 1) return at;
  }
}

}  // namespace

PreprocessTables::PreprocessTables(const PreprocessImagesParams& params) {
  const reference::CropAxis crop = reference::centerCropAxis(kReferenceSide, kReferenceSide);
  low_ = append(crop.low.data(), crop.low.size() * sizeof(int32_t));
  high_ = append(crop.high.data(), crop.high.size() * sizeof(int32_t));
  lerp_ = append(crop.lerp.data(), crop.lerp.size() * sizeof(float));
  if (params.imageSide != kReferenceSide) {
    const auto axis = reference::pillowBicubicAxis(kReferenceSide, params.imageSide);
    again_ = appendAxis(axis.start, axis.count, axis.weights, axis.taps);
  }
  for (int32_t i = 0; i < params.images && i < kMaxFrames; ++i) {
    const PreprocessFrame& frame = params.frames[i];
    if (!isResized(frame)) continue;
    vertical_[i] = appendFrameAxis(frame.height, nullptr);
    horizontal_[i] = appendFrameAxis(frame.width, &outputsAtOnce_[i]);
  }
}

void PreprocessTables::attach(PreprocessImagesParams& params, const void* copy) const {
  const uint8_t* base = static_cast<const uint8_t*>(copy);
  const auto integers = [&](size_t at) { return reinterpret_cast<const int32_t*>(base + at); };
  const auto floats = [&](size_t at) { return reinterpret_cast<const float*>(base + at); };
  const auto table = [&](const Axis& axis) {
    return TapTable<float>{integers(axis.start), integers(axis.count), floats(axis.weights),
                           axis.taps};
  };
  params.crop = {integers(low_), integers(high_), floats(lerp_)};
  if (params.imageSide != kReferenceSide) {
    params.again = {integers(again_.start), integers(again_.count), integers(again_.weights),
                    again_.taps};
  }
  for (int32_t i = 0; i < params.images && i < kMaxFrames; ++i) {
    if (!isResized(params.frames[i])) continue;
    params.frames[i].vertical = table(vertical_[i]);
    params.frames[i].horizontal = table(horizontal_[i]);
    params.frames[i].outputsAtOnce = outputsAtOnce_[i];
  }
}

size_t PreprocessTables::append(const void* data, size_t bytes) {
  const size_t at = bytes_.size();
  const uint8_t* begin = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), begin, begin + bytes);
  return at;
}

template <typename Weight>
PreprocessTables::Axis PreprocessTables::appendAxis(const std::vector<int>& start,
                                                    const std::vector<int>& count,
                                                    const std::vector<Weight>& weights, int taps) {
  Axis at;
  at.start = append(start.data(), start.size() * sizeof(int32_t));
  at.count = append(count.data(), count.size() * sizeof(int32_t));
  at.weights = append(weights.data(), weights.size() * sizeof(Weight));
  at.taps = taps;
  return at;
}

PreprocessTables::Axis PreprocessTables::appendFrameAxis(int32_t size, int32_t* outputsAtOnce) {
  const reference::ResizeAxis axis = reference::lanczosAxis(size, kReferenceSide);
  // The reference's loops have a fixed length, with zero weights beyond the last pixel: here those
  // are not read.
  std::vector<int> count;
  for (const int start : axis.start) count.push_back(std::min(axis.taps, size - start));
  if (outputsAtOnce != nullptr) *outputsAtOnce = outputsWithin(axis.start, count);
  return appendAxis(axis.start, count, axis.weights, axis.taps);
}

}  // namespace semanticvla::kernels
