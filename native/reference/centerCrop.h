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
/// `outSize` output pixels.
CropAxis centerCropAxis(int size, int outSize);

/// Rows [rowBegin, rowEnd) of the centre crop. `rgb` is [height, width, 3] uint8, `out` is [rows of
/// `vertical`, columns of `horizontal`, 3], distinct. Bit-exact with TensorFlow:
/// convert_image_dtype, crop_and_resize (bilinear), clip, convert_image_dtype back.
void centerCropRows(const uint8_t* rgb, int width, const CropAxis& horizontal,
                    const CropAxis& vertical, int rowBegin, int rowEnd, uint8_t* out);

}  // namespace semanticvla::reference
