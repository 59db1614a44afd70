#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace semanticvla::kernels {

/// An unsigned key in the order of selection: a larger score has the larger key, NaN the smallest
/// of all, -0 and +0 the same. Never 0.
__device__ inline uint32_t scoreKey(float score) {
  if (score != score) return 1;
  // -0 + 0 is +0.
  const uint32_t bits = __float_as_uint(score + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Number of rows that are chosen before row i: #{j : key_j > key_i or (key_j = key_i and j < i)}.
/// All threads of a warp read the same key at a time, which is one access.
__device__ inline int rankOf(const uint32_t* keys, int count, int i) {
  const uint32_t own = keys[i];
  int rank = 0;
  // Keys are at least 1: "not less" is "greater than one less".
#pragma unroll 4
  for (int j = 0; j < count; ++j) rank += keys[j] > own - (j < i ? 1u : 0u);
  return rank;
}

}  // namespace semanticvla::kernels
