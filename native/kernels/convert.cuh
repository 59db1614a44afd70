#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/status.h"

// Conversions only: bfloat16 and float16 are storage here, so sm_75, which has no bfloat16
// arithmetic, needs no other path.

namespace semanticvla::kernels {

__device__ inline float toFloat(float x) { return x; }
__device__ inline float toFloat(__half x) { return __half2float(x); }
__device__ inline float toFloat(__nv_bfloat16 x) { return __bfloat162float(x); }

/// Calls `launchOf` with a zero of the C++ type that a data type stands for.
template <typename LaunchOf>
Status withType(DataType type, LaunchOf launchOf) {
  switch (type) {
    case DataType::kFloat16:
      return launchOf(__half{});
    case DataType::kBfloat16:
      return launchOf(__nv_bfloat16{});
    default:
      return launchOf(0.0f);
  }
}

/// Rounds to nearest even.
template <typename T>
__device__ inline T fromFloat(float x);
template <>
__device__ inline float fromFloat<float>(float x) {
  return x;
}
template <>
__device__ inline __half fromFloat<__half>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline __nv_bfloat16 fromFloat<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// Four consecutive elements, loaded at once where they are aligned.
template <typename T>
struct alignas(4 * sizeof(T)) Four {
  T at[4];
};

/// True when every row of `width` elements from `pointer` on can be read in fours.
template <typename T>
inline bool inFours(const void* pointer, int32_t width) {
  return width % 4 == 0 && isAligned(pointer, sizeof(Four<T>));
}

}  // namespace semanticvla::kernels
