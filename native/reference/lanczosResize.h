#pragma once

#include <cstdint>
#include <vector>

#include "support/team.h"

namespace semanticvla::reference {

/// Filter taps of one axis: output i is the sum over k < taps of `weights[i * taps + k] *
/// input[start[i] + k]`. Outputs with fewer taps end in zero weights, whose inputs may lie past the
/// end. `start` ascends.
struct ResizeAxis {
  int inSize = 0;
  int taps = 0;
  std::vector<int> start;
  std::vector<float> weights;
};

/// Lanczos3 with antialias as TensorFlow's ScaleAndTranslate computes it, centres, weights and sums
/// in float32 (docs/model.md, Input 1).
ResizeAxis lanczosAxis(int inSize, int outSize);

/// `rgb` [inHeight, inWidth, 3] uint8 to `out` [outHeight, outWidth, 3] uint8: vertical pass first,
/// nothing rounded in between, then half to even and clipped. Axis sizes are those of the two
/// `ResizeAxis`.
void lanczosResize(const uint8_t* rgb, const ResizeAxis& vertical, const ResizeAxis& horizontal,
                   Team& team, uint8_t* out);

}  // namespace semanticvla::reference
