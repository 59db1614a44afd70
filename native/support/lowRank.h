#pragma once

#include <cstddef>

namespace semanticvla {

/// The arithmetic of the LoRA merge in float32: `weights [rows, columns] += b [rows, rank] * a
/// [rank, columns]`. Each sum over the rank runs in the order of the rank, without fused
/// multiply-add, and is then added to the weight: the result does not depend on the machine, nor on
/// how the caller splits the rows.
///
/// Besides the arguments it holds a copy of `a`.
///
/// @return whether every resulting weight is finite
bool addLowRank(float* weights, size_t rows, size_t columns, const float* a, const float* b,
                size_t rank);

}  // namespace semanticvla
