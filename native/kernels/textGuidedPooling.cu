// One launch. Every block repeats its image's scores and selection (64 columns of sums), which lets
// the blocks share nothing and take 64 channels each.

#include "kernels/convert.cuh"
#include "kernels/dynamicShared.cuh"
#include "kernels/launch.cuh"
#include "kernels/rank.cuh"
#include "kernels/textGuidedPooling.h"

namespace semanticvla::kernels {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
/// Channels of a block; the threads beyond them split the patches.
constexpr int kColumns = 64;
constexpr int kGroups = kThreads / kColumns;
/// Tokens softened and pooled at a time: one per warp.
constexpr int kTokens = kWarps;

struct PoolingShared {
  uint32_t keys[kMaxTextTokens];
  int32_t chosen[kMaxTextTokens];
  float partial[kGroups][kTokens][kColumns];
};

__device__ inline float warpMax(float value) {
  for (int step = 16; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

__device__ inline float warpSum(float value) {
  for (int step = 16; step > 0; step /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, step);
  }
  return value;
}

/// softmax over the patches of similarity[:, token] / temperature, by one warp.
__device__ inline void softmaxColumn(const float* similarity, int patches, int textTokens,
                                     int token, float temperature, int lane, float* weights) {
  float largest = -INFINITY;
  for (int n = lane; n < patches; n += 32) {
    const float logit = similarity[static_cast<int64_t>(n) * textTokens + token] / temperature;
    weights[n] = logit;
    largest = fmaxf(largest, logit);
  }
  largest = warpMax(largest);
  float sum = 0.0f;
  for (int n = lane; n < patches; n += 32) {
    // Infinity less infinity is NaN, and a NaN logit stays one: both make all weights NaN.
    const float power = expf(weights[n] - largest);
    weights[n] = power;
    sum += power;
  }
  sum = warpSum(sum);
  for (int n = lane; n < patches; n += 32) weights[n] /= sum;
}

/// Dynamic shared memory: weights [kTokens, N].
template <typename T>
__global__ void __launch_bounds__(kThreads) poolingKernel(const TextGuidedPoolingParams p) {
  __shared__ PoolingShared shared;
  float* weights = dynamicShared<float>();
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int64_t image = blockIdx.y;
  const float* similarity = p.similarity + image * p.patches * p.textTokens;

  // 1. Score of each text token: the sum over the patches in ascending order, divided by N.
  if (thread < p.textTokens) {
    float sum = 0.0f;
#pragma unroll 8
    for (int n = 0; n < p.patches; ++n) {
      sum += similarity[static_cast<int64_t>(n) * p.textTokens + thread];
    }
    shared.keys[thread] = scoreKey(sum / static_cast<float>(p.patches));
  }
  __syncthreads();

  // 2. Rank by counting; a kept token's place is the number of kept tokens before it. Two warps
  //    cover the at most 64 tokens; the second repeats the first one's ranks to know its places.
  if (warp < 2) {
    int before = 0;
    for (int first = 0; first <= warp * 32; first += 32) {
      const int m = first + lane;
      const bool kept = m < p.textTokens && rankOf(shared.keys, p.textTokens, m) < p.topk;
      const uint32_t bits = __ballot_sync(0xffffffffu, kept);
      if (kept && first == warp * 32) {
        shared.chosen[before + __popc(bits & ((1u << lane) - 1u))] = m;
      }
      before += __popc(bits);
    }
  }
  __syncthreads();
  if (blockIdx.x == 0 && thread < p.topk) {
    p.indices[image * p.topk + thread] = shared.chosen[thread];
  }

  const int group = thread / kColumns, column = thread % kColumns;
  const int channel = blockIdx.x * kColumns + column;
  const bool there = channel < p.width;
  const T* patches = static_cast<const T*>(p.patchRows) + image * p.patches * p.width + channel;
  T* pooled = static_cast<T*>(p.pooled) + image * p.topk * p.width + channel;
  for (int first = 0; first < p.topk; first += kTokens) {
    const int tokens = min(kTokens, p.topk - first);
    // 3. Softmax over the patches, one warp per token.
    if (warp < tokens) {
      softmaxColumn(similarity, p.patches, p.textTokens, shared.chosen[first + warp], p.temperature,
                    lane, weights + warp * p.patches);
    }
    __syncthreads();

    // 4. Weighted sums over every fourth patch.
    float sums[kTokens] = {};
    if (there) {
      for (int n = group; n < p.patches; n += kGroups) {
        const float value = toFloat(patches[static_cast<int64_t>(n) * p.width]);
#pragma unroll
        for (int t = 0; t < kTokens; ++t) {
          if (t < tokens) sums[t] += weights[t * p.patches + n] * value;
        }
      }
    }
    for (int t = 0; t < kTokens; ++t) shared.partial[group][t][column] = sums[t];
    __syncthreads();

    // 5. The groups' sums in order, rounded once.
    for (int t = group; t < tokens; t += kGroups) {
      if (!there) continue;
      float sum = shared.partial[0][t][column];
      for (int g = 1; g < kGroups; ++g) sum += shared.partial[g][t][column];
      pooled[static_cast<int64_t>(first + t) * p.width] = fromFloat<T>(sum);
    }
    // The next softmax writes only weights, and its barrier comes before the next partial sums.
  }
}

template <typename T>
Status launchTyped(const TextGuidedPoolingParams& p, cudaStream_t stream) {
  const dim3 grid(ceilDivide(p.width, kColumns), p.images);
  const size_t weights = static_cast<size_t>(kTokens) * p.patches * sizeof(float);
  return launch(poolingKernel<T>, grid, dim3(kThreads), weights, stream, p);
}

}  // namespace

Status launchTextGuidedPooling(const TextGuidedPoolingParams& params, cudaStream_t stream) {
  const Status status = checkTextGuidedPooling(params);
  if (status != kOk) return status;
  return withType(params.type,
                  [&](auto zero) { return launchTyped<decltype(zero)>(params, stream); });
}

}  // namespace semanticvla::kernels
