#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace semanticvla::reference {

/// [count, pixels, 3] uint8 to [count, 3, pixels] float32: (x / 255 - mean) / std per channel, each
/// step rounded to float32 as torchvision's to_tensor and normalize do (docs/model.md, Input 1).
void normalizePixels(const uint8_t* images, size_t count, size_t pixels,
                     const std::array<float, 3>& mean, const std::array<float, 3>& std, float* out);

}  // namespace semanticvla::reference
