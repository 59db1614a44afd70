// Two launches instead of one: between scores and ranks every block of an image must have finished,
// and a barrier over a grid needs atomics or a cooperative launch; inside a CUDA graph a second
// launch costs less than either. Each output element is one thread's sum in an order that depends
// on nothing but the shapes, so results are the same bits from run to run.

#include "kernels/convert.cuh"
#include "kernels/instructionTopK.h"
#include "kernels/launch.cuh"
#include "kernels/rank.cuh"

namespace semanticvla::kernels {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// ---- similarity and scores ----

/// Patches a block takes, and columns of W it stages at a time. 8 x 64 similarities make 16 sums a
/// thread; 8 patches a block give 64 blocks for two images of 256.
constexpr int kTilePatches = 8;
constexpr int kTileColumns = 64;
/// Row length in shared memory: a multiple of 4 for aligned fours, and 4 banks further from row to
/// row, so that eight lanes read fours of eight rows without conflict.
constexpr int kStagedRow = kTileColumns + 4;
/// Fours a thread stages: 16 threads cover a row's 64 columns, 16 rows at a time.
constexpr int kFoursPerRow = kTileColumns / 4;
constexpr int kRowsPerStep = kThreads / kFoursPerRow;
constexpr int kTextSteps = kMaxTextTokens / kRowsPerStep;

struct Staged {
  alignas(16) float text[kMaxTextTokens][kStagedRow];
  alignas(16) float patch[kTilePatches][kStagedRow];
};

/// Sums of one warp's columns each, then the similarities; one column more than needed keeps the
/// threads that read down a row of patches off each other's banks.
struct Reduced {
  float partial[kWarps][kTilePatches][kMaxTextTokens + 1];
};

union SimilarityShared {
  Staged staged;
  Reduced reduced;
};

struct Lengths {
  float text[kMaxTextTokens];
  float patch[kTilePatches];
};

/// Columns [column, column + 4) of a row; zero past its end or where the row is not there.
template <typename T, bool InFours>
__device__ inline void loadFour(const T* rows, bool there, int64_t row, int column, int width,
                                float (&out)[4]) {
  out[0] = out[1] = out[2] = out[3] = 0.0f;
  if (!there || column >= width) return;
  const T* at = rows + row * width + column;
  if (InFours) {
    const Four<T> four = *reinterpret_cast<const Four<T>*>(at);
    for (int i = 0; i < 4; ++i) out[i] = toFloat(four.at[i]);
  } else {
    for (int i = 0; i < 4; ++i) {
      if (column + i < width) out[i] = toFloat(at[i]);
    }
  }
}

__device__ inline void storeFour(float* row, const float (&in)[4]) {
  *reinterpret_cast<float4*>(row) = make_float4(in[0], in[1], in[2], in[3]);
}

__device__ inline void addSquares(const float (&in)[4], float& sum) {
  for (int i = 0; i < 4; ++i) sum += in[i] * in[i];
}

/// Sum over the 16 threads that share a row; every one of them gets it.
__device__ inline float sumOfRow(float value) {
  for (int step = kFoursPerRow / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, step);
  }
  return value;
}

/// max(|row|, 1e-12), or NaN where the squared length is not finite: NaN in every similarity of
/// that row.
__device__ inline float lengthOf(float squared) {
  if (!(squared < INFINITY)) return NAN;
  return fmaxf(sqrtf(squared), 1e-12f);
}

template <typename T, bool InFours>
__global__ void __launch_bounds__(kThreads) similarityKernel(const InstructionTopKParams p) {
  __shared__ SimilarityShared shared;
  __shared__ Lengths lengths;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int firstPatch = blockIdx.x * kTilePatches;
  const int64_t imageRow = static_cast<int64_t>(blockIdx.y) * p.patches;
  const T* patchRows = static_cast<const T*>(p.patchRows);
  const T* textRows = static_cast<const T*>(p.textRows);
  const int stagedRow = thread / kFoursPerRow, stagedColumn = thread % kFoursPerRow * 4;
  const bool stagesPatch = stagedRow < kTilePatches && firstPatch + stagedRow < p.patches;

  // 1. Stage 64 columns of the tile's patches and of all text rows as float32 while the columns
  //    before them are multiplied; sum the squares on the way.
  float textFour[kTextSteps][4], patchFour[4];
  const auto load = [&](int column) {
    for (int step = 0; step < kTextSteps; ++step) {
      const int row = stagedRow + step * kRowsPerStep;
      loadFour<T, InFours>(textRows, row < p.textTokens, row, column, p.width, textFour[step]);
    }
    loadFour<T, InFours>(patchRows, stagesPatch, imageRow + firstPatch + stagedRow, column, p.width,
                         patchFour);
  };
  float textSquares[kTextSteps] = {}, patchSquares = 0.0f;
  float sums[kTilePatches][2] = {};
  load(stagedColumn);
  for (int column = 0; column < p.width; column += kTileColumns) {
    for (int step = 0; step < kTextSteps; ++step) {
      storeFour(&shared.staged.text[stagedRow + step * kRowsPerStep][stagedColumn], textFour[step]);
      addSquares(textFour[step], textSquares[step]);
    }
    if (stagedRow < kTilePatches) {
      storeFour(&shared.staged.patch[stagedRow][stagedColumn], patchFour);
      addSquares(patchFour, patchSquares);
    }
    __syncthreads();
    load(column + kTileColumns + stagedColumn);
    // 2. Each warp multiplies 8 of the 64 columns: a lane holds two text rows against all patches.
    for (int four = 0; four < 2; ++four) {
      const int at = warp * 8 + four * 4;
      const float4 a = *reinterpret_cast<const float4*>(&shared.staged.text[lane][at]);
      const float4 b = *reinterpret_cast<const float4*>(&shared.staged.text[lane + 32][at]);
#pragma unroll
      for (int i = 0; i < kTilePatches; ++i) {
        const float4 x = *reinterpret_cast<const float4*>(&shared.staged.patch[i][at]);
        sums[i][0] += x.x * a.x;
        sums[i][0] += x.y * a.y;
        sums[i][0] += x.z * a.z;
        sums[i][0] += x.w * a.w;
        sums[i][1] += x.x * b.x;
        sums[i][1] += x.y * b.y;
        sums[i][1] += x.z * b.z;
        sums[i][1] += x.w * b.w;
      }
    }
    __syncthreads();
  }

  // 3. Lengths of the rows; the warps' sums to shared memory.
  for (int step = 0; step < kTextSteps; ++step) {
    const float squared = sumOfRow(textSquares[step]);
    if (stagedColumn == 0) lengths.text[stagedRow + step * kRowsPerStep] = lengthOf(squared);
  }
  const float squared = sumOfRow(patchSquares);
  if (stagedColumn == 0 && stagedRow < kTilePatches) lengths.patch[stagedRow] = lengthOf(squared);
  for (int i = 0; i < kTilePatches; ++i) {
    shared.reduced.partial[warp][i][lane] = sums[i][0];
    shared.reduced.partial[warp][i][lane + 32] = sums[i][1];
  }
  __syncthreads();

  // 4. Cosine, masked columns -1. Each thread owns its elements: partial[0] takes the result.
  for (int at = thread; at < kTilePatches * kMaxTextTokens; at += kThreads) {
    const int i = at / kMaxTextTokens, m = at % kMaxTextTokens;
    float dot = shared.reduced.partial[0][i][m];
    for (int w = 1; w < kWarps; ++w) dot += shared.reduced.partial[w][i][m];
    const bool there = m < p.textTokens && firstPatch + i < p.patches;
    if (!there) continue;
    const float cosine = p.mask[m] != 0 ? dot / lengths.patch[i] / lengths.text[m] : -1.0f;
    shared.reduced.partial[0][i][m] = cosine;
    p.similarity[(imageRow + firstPatch + i) * p.textTokens + m] = cosine;
  }
  __syncthreads();

  // 5. Score: the sum over the columns in ascending order, divided by M.
  if (thread < kTilePatches && firstPatch + thread < p.patches) {
    float sum = 0.0f;
    for (int m = 0; m < p.textTokens; ++m) sum += shared.reduced.partial[0][thread][m];
    static_cast<float*>(p.workspace)[imageRow + firstPatch + thread] =
        sum / static_cast<float>(p.textTokens);
  }
}

// ---- selection and gather ----

struct SelectShared {
  uint32_t keys[kMaxPatches];
  /// One bit a patch: it is kept.
  uint32_t keptBits[kMaxPatches / 32];
  int32_t chosen[kMaxTopk];
};

template <typename T, bool InFours>
__device__ inline void copyRow(const T* from, T* to, int width, int lane) {
  if (InFours) {
    const Four<T>* in = reinterpret_cast<const Four<T>*>(from);
    Four<T>* out = reinterpret_cast<Four<T>*>(to);
    for (int i = lane; i < width / 4; i += 32) out[i] = in[i];
  } else {
    for (int i = lane; i < width; i += 32) to[i] = from[i];
  }
}

/// Each block ranks all patches of its image, which takes less time than telling it the result, and
/// copies its share of the kept rows.
template <typename T, bool InFours>
__global__ void __launch_bounds__(kThreads) selectKernel(const InstructionTopKParams p) {
  __shared__ SelectShared shared;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int64_t imageRow = static_cast<int64_t>(blockIdx.y) * p.patches;
  const float* scores = static_cast<const float*>(p.workspace) + imageRow;

  // 1. Scores as keys.
  for (int i = thread; i < p.patches; i += kThreads) shared.keys[i] = scoreKey(scores[i]);
  __syncthreads();

  // 2. Rank by counting. Whole warps go through, so that the ballot has all its lanes.
  for (int i = thread; i - lane < p.patches; i += kThreads) {
    const bool kept = i < p.patches && rankOf(shared.keys, p.patches, i) < p.topk;
    const uint32_t bits = __ballot_sync(0xffffffffu, kept);
    if (lane == 0) shared.keptBits[i / 32] = bits;
  }
  __syncthreads();

  // 3. A kept patch's place is the number of kept patches before it.
  for (int i = thread; i < p.patches; i += kThreads) {
    const uint32_t bits = shared.keptBits[i / 32];
    if ((bits >> (i % 32) & 1u) == 0) continue;
    int place = __popc(bits & ((1u << (i % 32)) - 1u));
    for (int word = 0; word < i / 32; ++word) place += __popc(shared.keptBits[word]);
    shared.chosen[place] = i;
  }
  __syncthreads();

  // 4. Indices, by the first block; rows, one warp each.
  const int64_t imageKept = static_cast<int64_t>(blockIdx.y) * p.topk;
  if (blockIdx.x == 0) {
    for (int i = thread; i < p.topk; i += kThreads) p.indices[imageKept + i] = shared.chosen[i];
  }
  const int row = blockIdx.x * kWarps + warp;
  if (row >= p.topk) return;
  copyRow<T, InFours>(
      static_cast<const T*>(p.patchRows) + (imageRow + shared.chosen[row]) * p.width,
      static_cast<T*>(p.kept) + (imageKept + row) * p.width, p.width, lane);
}

template <typename T, bool InFours>
Status launchBoth(const InstructionTopKParams& p, cudaStream_t stream) {
  const dim3 tiles(ceilDivide(p.patches, kTilePatches), p.images);
  const Status status = launch(similarityKernel<T, InFours>, tiles, dim3(kThreads), 0, stream, p);
  if (status != kOk) return status;
  const dim3 shares(ceilDivide(p.topk, kWarps), p.images);
  return launch(selectKernel<T, InFours>, shares, dim3(kThreads), 0, stream, p);
}

template <typename T>
Status launchTyped(const InstructionTopKParams& p, cudaStream_t stream) {
  const bool fours = inFours<T>(p.patchRows, p.width) && inFours<T>(p.textRows, p.width) &&
                     inFours<T>(p.kept, p.width);
  return fours ? launchBoth<T, true>(p, stream) : launchBoth<T, false>(p, stream);
}

}  // namespace

Status launchInstructionTopK(const InstructionTopKParams& params, cudaStream_t stream) {
  const Status status = checkInstructionTopK(params);
  if (status != kOk) return status;
  switch (params.type) {
    case DataType::kFloat16:
      return launchTyped<__half>(params, stream);
    case DataType::kBfloat16:
      return launchTyped<__nv_bfloat16>(params, stream);
    default:
      return launchTyped<float>(params, stream);
  }
}

}  // namespace semanticvla::kernels
