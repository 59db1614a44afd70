#pragma once

#include <cuda_runtime.h>

/// The launch's dynamic shared memory. One declaration for all kernels: CUDA gives every such array
/// the same address, and the tests' stand-in for CUDA defines it once.
extern __shared__ __align__(16) unsigned char semanticvlaDynamicShared[];

namespace semanticvla::kernels {

template <typename T>
__device__ inline T* dynamicShared() {
  return reinterpret_cast<T*>(semanticvlaDynamicShared);
}

}  // namespace semanticvla::kernels
