// One block per token, eight neighbouring columns a thread: 16 bytes of gate and of up at a time.
// Rotated values wait in shared memory until the row's largest magnitude is known; in rows too wide
// for that they are computed a second time.

#include "kernels/convert.cuh"
#include "kernels/dynamicShared.cuh"
#include "kernels/launch.cuh"
#include "kernels/swigluLevels.h"

namespace semanticvla::kernels {

namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
/// Columns of a thread at a time.
constexpr int kPiece = 8;
/// Columns that a block keeps: what shared memory holds beside the sums of its warps.
constexpr int kMostKept = 12272;

template <typename T>
struct alignas(16) Sixteen {
  T at[16 / sizeof(T)];
};

template <typename T>
__device__ inline void loadPiece(const T* from, float (&to)[kPiece]) {
  constexpr int kAtOnce = 16 / sizeof(T);
#pragma unroll
  for (int first = 0; first < kPiece; first += kAtOnce) {
    const auto loaded = *reinterpret_cast<const Sixteen<T>*>(from + first);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) to[first + i] = toFloat(loaded.at[i]);
  }
}

/// silu(gate) * up of eight columns from `column` on.
template <typename T>
__device__ inline void swiglu(const SwigluLevelsParams& p, int64_t row, int column,
                              float (&values)[kPiece]) {
  const T* sums = static_cast<const T*>(p.sums) + row * 2 * p.width + column;
  const float byToken = p.byToken[row];
  float up[kPiece], gateScales[kPiece], upScales[kPiece];
  loadPiece(sums, values);
  loadPiece(sums + p.width, up);
  loadPiece(p.byChannel + column, gateScales);
  loadPiece(p.byChannel + p.width + column, upScales);
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    const float gate = values[i] * byToken * gateScales[i];
    values[i] = gate / (1.0f + expf(-gate)) * (up[i] * byToken * upScales[i]);
  }
}

/// Times Sylvester's Hadamard matrix over blocks of `block` columns, which neighbouring lanes hold:
/// all lanes of a warp call it.
__device__ inline void rotate(int block, int lane, float (&values)[kPiece]) {
  // 1 / sqrt(block)
  const float norm = block == 64 ? 0.125f : block == 32 ? 0.176776695f : 0.25f;
#pragma unroll
  for (int step = 1; step < kPiece; step *= 2) {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      if (i & step) continue;
      const float low = values[i], high = values[i + step];
      values[i] = low + high;
      values[i + step] = low - high;
    }
  }
  for (int step = 1; step < block / kPiece; step *= 2) {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      const float other = __shfl_xor_sync(0xffffffffu, values[i], step);
      values[i] = lane & step ? other - values[i] : values[i] + other;
    }
  }
#pragma unroll
  for (int i = 0; i < kPiece; ++i) values[i] *= norm;
}

/// The piece from `column` on, rotated; zeros beyond the row, whose lanes still take part.
template <typename T>
__device__ inline void rotatedPiece(const SwigluLevelsParams& p, int64_t row, int column,
                                    float (&values)[kPiece]) {
  if (column < p.width) {
    swiglu<T>(p, row, column, values);
  } else {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) values[i] = 0.0f;
  }
  rotate(p.block, threadIdx.x % 32, values);
}

/// Bits of a magnitude: they order as the numbers do, with infinity above all of them and NaN above
/// that.
__device__ inline uint32_t largestOf(uint32_t largest, const float (&values)[kPiece]) {
#pragma unroll
  for (int i = 0; i < kPiece; ++i) largest = max(largest, __float_as_uint(values[i]) & 0x7fffffffu);
  return largest;
}

constexpr uint32_t kInfinity = 0x7f800000u;

struct alignas(8) Levels {
  int8_t at[kPiece];
};

__device__ inline void storeLevels(const float (&values)[kPiece], float scale, int8_t* to) {
  Levels levels;
  const bool isNumber = __float_as_uint(scale) < kInfinity;
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    levels.at[i] = isNumber ? static_cast<int8_t>(__float2int_rn(values[i] / scale)) : int8_t{0};
  }
  *reinterpret_cast<Levels*>(to) = levels;
}

/// Dynamic shared memory where it `Keeps` the row: first and second halves of all pieces, so that
/// neighbouring threads reach neighbouring fours. Each thread reads only what it has written.
template <typename T, bool Keeps>
__global__ void __launch_bounds__(kThreads, 2) swigluLevelsKernel(const SwigluLevelsParams p) {
  __shared__ uint32_t partial[kWarps];
  Four<float>* kept = dynamicShared<Four<float>>();
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int pieces = p.width / kPiece;
  const int64_t row = blockIdx.x;
  float values[kPiece];

  // 1. The largest magnitude. Whole warps take part in the rotation.
  uint32_t largest = 0;
  for (int piece = thread; piece - lane < pieces; piece += kThreads) {
    rotatedPiece<T>(p, row, piece * kPiece, values);
    largest = largestOf(largest, values);
    if (Keeps && piece < pieces) {
      kept[piece] = {{values[0], values[1], values[2], values[3]}};
      kept[pieces + piece] = {{values[4], values[5], values[6], values[7]}};
    }
  }
  for (int step = 16; step > 0; step /= 2) {
    largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, step));
  }
  if (lane == 0) partial[warp] = largest;
  __syncthreads();
  for (int i = 0; i < kWarps; ++i) largest = max(largest, partial[i]);

  // 2. Levels.
  const float scale = (__uint_as_float(largest) + 1e-30f) * (1.0f / 127.0f);
  if (thread == 0) p.scales[row] = scale;
  int8_t* levels = p.levels + row * p.width;
  for (int piece = thread; piece - lane < pieces; piece += kThreads) {
    if (!Keeps) rotatedPiece<T>(p, row, piece * kPiece, values);
    if (piece >= pieces) continue;
    if (Keeps) {
#pragma unroll
      for (int i = 0; i < kPiece; ++i) values[i] = kept[i / 4 * pieces + piece].at[i % 4];
    }
    storeLevels(values, scale, levels + piece * kPiece);
  }
}

template <typename T>
Status launchTyped(const SwigluLevelsParams& p, cudaStream_t stream) {
  const dim3 grid(p.rows), block(kThreads);
  if (p.width > kMostKept) {
    return launch(swigluLevelsKernel<T, false>, grid, block, 0, stream, p);
  }
  return launch(swigluLevelsKernel<T, true>, grid, block, p.width * sizeof(float), stream, p);
}

}  // namespace

Status launchSwigluLevels(const SwigluLevelsParams& params, cudaStream_t stream) {
  const Status status = checkSwigluLevels(params);
  if (status != kOk) return status;
  return withType(params.type,
                  [&](auto zero) { return launchTyped<decltype(zero)>(params, stream); });
}

}  // namespace semanticvla::kernels
