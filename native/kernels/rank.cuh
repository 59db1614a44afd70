#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace semanticvla::kernels {

/// An unsigned key in the order of selection: a larger score has the larger key, NaN the smallest
/// of all, -0 and +0 the same.
__device__ inline uint32_t scoreKey(float score) {
  if (score != score) return 0;
  // -0 + 0 is +0.
  const uint32_t bits = __float_as_uint(score + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Number of rows that are chosen before row i: #{j : key_j > key_i or (key_j = key_i and j < i)}.
__device__ inline int rankOf(const uint32_t* keys, int count, int i) {
  const uint32_t own = keys[i];
  int rank = 0;
  for (int j = 0; j < i; ++j) rank += keys[j] >= own;
  for (int j = i + 1; j < count; ++j) rank += keys[j] > own;
  return rank;
}

}  // namespace semanticvla::kernels
