#include "kernels/preprocessTables.h"

#include <algorithm>

#include "reference/centerCrop.h"
#include "reference/lanczosResize.h"

namespace semanticvla::kernels {

PreprocessTables::PreprocessTables(const PreprocessImagesParams& params) {
  const reference::CropAxis crop = reference::centerCropAxis(kImageSide);
  low_ = append(crop.low.data(), crop.low.size() * sizeof(int32_t));
  high_ = append(crop.high.data(), crop.high.size() * sizeof(int32_t));
  lerp_ = append(crop.lerp.data(), crop.lerp.size() * sizeof(float));
  for (int32_t i = 0; i < params.images && i < kMaxFrames; ++i) {
    const PreprocessFrame& frame = params.frames[i];
    if (!isResized(frame)) continue;
    vertical_[i] = appendAxis(frame.height);
    horizontal_[i] = appendAxis(frame.width);
  }
}

void PreprocessTables::attach(PreprocessImagesParams& params, const void* copy) const {
  const uint8_t* base = static_cast<const uint8_t*>(copy);
  const auto integers = [&](size_t at) { return reinterpret_cast<const int32_t*>(base + at); };
  const auto floats = [&](size_t at) { return reinterpret_cast<const float*>(base + at); };
  const auto table = [&](const Axis& axis) {
    return ResizeTable{integers(axis.start), integers(axis.count), floats(axis.weights), axis.taps};
  };
  params.crop = {integers(low_), integers(high_), floats(lerp_)};
  for (int32_t i = 0; i < params.images && i < kMaxFrames; ++i) {
    if (!isResized(params.frames[i])) continue;
    params.frames[i].vertical = table(vertical_[i]);
    params.frames[i].horizontal = table(horizontal_[i]);
  }
}

size_t PreprocessTables::append(const void* data, size_t bytes) {
  const size_t at = bytes_.size();
  const uint8_t* begin = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), begin, begin + bytes);
  return at;
}

PreprocessTables::Axis PreprocessTables::appendAxis(int32_t size) {
  const reference::ResizeAxis axis = reference::lanczosAxis(size, kImageSide);
  static_assert(sizeof(int) == sizeof(int32_t), "the reference counts in int");
  Axis at;
  at.start = append(axis.start.data(), axis.start.size() * sizeof(int32_t));
  // The reference's loops have a fixed length, with zero weights beyond the last pixel: here those
  // are not read.
  std::vector<int32_t> count;
  for (const int start : axis.start) count.push_back(std::min(axis.taps, size - start));
  at.count = append(count.data(), count.size() * sizeof(int32_t));
  at.weights = append(axis.weights.data(), axis.weights.size() * sizeof(float));
  at.taps = axis.taps;
  return at;
}

}  // namespace semanticvla::kernels
