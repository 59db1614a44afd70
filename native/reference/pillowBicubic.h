#pragma once

#include <cstdint>
#include <vector>

namespace semanticvla::reference {

/// Filter taps of one axis, in units of 2^-22: output i is the sum over k < count[i] of
/// `weights[i * taps + k] * input[start[i] + k]`. `start` ascends.
struct BicubicAxis {
  int taps = 0;
  std::vector<int> start;
  std::vector<int> count;
  std::vector<int32_t> weights;
};

BicubicAxis pillowBicubicAxis(int inSize, int outSize);

/// `rgb` [inHeight, inWidth, 3] uint8 to `out` [outHeight, outWidth, 3] as Pillow's BICUBIC resize
/// of an 8-bit image: antialias, horizontal pass first, fixed-point weights, rounded to bytes after
/// each pass. Only policies whose towers take another size than the reference's 224 need it (their
/// image processor resizes once more).
void pillowBicubic(const uint8_t* rgb, int inWidth, int inHeight, int outWidth, int outHeight,
                   uint8_t* out);

}  // namespace semanticvla::reference
