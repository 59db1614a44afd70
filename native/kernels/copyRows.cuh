#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>

#include "kernels/status.h"

namespace semanticvla::kernels {

/// Elements a thread copies at once, by the alignment that all rows share.
struct alignas(16) Chunk16 {
  uint32_t words[4];
};

/// Bytes of the largest unit (16, 4 or 2) that divides every given byte count.
inline size_t copyUnit(std::initializer_list<uintptr_t> multiples) {
  for (const size_t unit : {size_t{16}, size_t{4}}) {
    bool fits = true;
    for (const uintptr_t value : multiples) fits = fits && value % unit == 0;
    if (fits) return unit;
  }
  return 2;
}

/// `sizeOf` is a host function.
__device__ inline int64_t elementBytes(DataType type) { return type == DataType::kFloat32 ? 4 : 2; }

/// Copies `units` units from `from` to `to` by the threads of a block.
template <typename Unit>
__device__ inline void copyUnits(const void* from, void* to, int64_t units) {
  const Unit* in = static_cast<const Unit*>(from);
  Unit* out = static_cast<Unit*>(to);
  for (int64_t i = threadIdx.x; i < units; i += blockDim.x) out[i] = in[i];
}

}  // namespace semanticvla::kernels
