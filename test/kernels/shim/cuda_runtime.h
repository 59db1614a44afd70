#pragma once

// Stand-in for CUDA's header: lets g++ compile the kernels' sources for the CPU. Threads are fibers
// that change places only at barriers, warp operations, fences and atomics (block.h). Test only.
//
// Shared variables are thread_local: a function's own ones are then static by themselves, an extern
// one may be declared, and all of them lie in one segment that can be filled with a pattern.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "block.h"

#define __global__
#define __device__
#define __host__
#define __shared__ thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __constant__

using shim::blockDim;
using shim::blockIdx;
using shim::dim3;
using shim::gridDim;
using shim::threadIdx;

struct alignas(16) float4 {
  float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
constexpr cudaError_t cudaErrorInvalidConfiguration = 9;
constexpr cudaError_t cudaErrorLaunchFailure = 719;
typedef struct CUstream_st* cudaStream_t;

// ---- barriers and warp operations; the line tells apart the places that meet ----

#define __syncthreads() ::shim::blockBarrier(__LINE__)
#define __syncwarp(...) ::shim::warpBarrier(__LINE__)
#define __shfl_xor_sync(mask, value, lanes) ::shim::shuffleXor(mask, value, lanes, __LINE__)
#define __shfl_sync(mask, value, lane) ::shim::shuffle(mask, value, lane, __LINE__)
#define __ballot_sync(mask, predicate) ::shim::ballot(mask, predicate, __LINE__)

namespace shim {

template <typename T>
T shuffle(uint32_t mask, T value, int lane, int line) {
  static_assert(sizeof(T) == 4, "shuffles move 32 bits");
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits = exchange(mask, bits, line).from(lane & 31);
  std::memcpy(&value, &bits, 4);
  return value;
}

template <typename T>
T shuffleXor(uint32_t mask, T value, int lanes, int line) {
  return shuffle(mask, value, laneOf() ^ lanes, line);
}

inline uint32_t ballot(uint32_t mask, bool predicate, int line) {
  const Exchange all = exchange(mask, predicate, line);
  uint32_t bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1u) bits |= all.from(lane) << lane;
  }
  return bits;
}

inline void warpBarrier(int line) { exchange(0xffffffffu, 0, line); }

}  // namespace shim

// ---- between blocks ----

inline void __threadfence() { shim::fence(); }
inline unsigned atomicInc(unsigned* counter, unsigned last) { return shim::ticket(counter, last); }

// ---- arithmetic ----

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
template <typename T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <typename T>
T max(T a, T b) {
  return a < b ? b : a;
}
// The build turns contraction off, so the plain operators round each result.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }

// ---- runtime calls ----

template <typename... Arguments>
cudaError_t cudaLaunchKernel(void (*kernel)(Arguments...), dim3 grid, dim3 block, void** arguments,
                             size_t sharedBytes, cudaStream_t stream) {
  static_assert(sizeof...(Arguments) == 1, "kernels take one struct");
  using Params = std::remove_const_t<std::tuple_element_t<0, std::tuple<Arguments...>>>;
  const Params params = *static_cast<const Params*>(arguments[0]);
  return shim::put(stream,
                   [=] { return shim::launch([&] { kernel(params); }, grid, block, sharedBytes); });
}

cudaError_t cudaMalloc(void** pointer, size_t bytes);
cudaError_t cudaFree(void* pointer);
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemset(void* at, int value, size_t bytes);
cudaError_t cudaDeviceSynchronize();
const char* cudaGetErrorString(cudaError_t error);
