#pragma once

#include <cstdint>
#include <vector>

namespace semanticvla::reference {

/// Where the output pixels of one axis are sampled.
struct CropAxis {
  /// Per output index: lower and upper neighbour, and the weight of the upper one.
  std::vector<int> low;
  std::vector<int> high;
  std::vector<float> lerp;
};

/// Axis of the box with area 0.9 around the centre (docs/model.md, Input 1): `size` input pixels to
/// `size` output pixels.
CropAxis centerCropAxis(int size);

/// Rows [rowBegin, rowEnd) of the centre crop. `rgb` and `out` are [size, size, 3] uint8, distinct.
/// Bit-exact with TensorFlow: convert_image_dtype, crop_and_resize (bilinear), clip,
/// convert_image_dtype back.
void centerCropRows(const uint8_t* rgb, int size, const CropAxis& axis, int rowBegin, int rowEnd,
                    uint8_t* out);

}  // namespace semanticvla::reference
