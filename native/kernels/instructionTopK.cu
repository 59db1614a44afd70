// One launch. The blocks of an image score their patches and then take a ticket; the one that gets
// the last finds all scores there, ranks them and gathers the kept rows. A ticket decides only who
// does that: each output element is one thread's sum in an order that depends on nothing but the
// shapes, so results are the same bits from run to run.

#include "kernels/convert.cuh"
#include "kernels/copyRows.cuh"
#include "kernels/instructionTopK.h"
#include "kernels/launch.cuh"
#include "kernels/rank.cuh"

namespace semanticvla::kernels {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// ---- similarity and scores ----

/// Patches per block, and columns of W staged at a time. 8 x 64 similarities make 16 sums per
/// thread; 8 patches per block give 64 blocks for two images of 256.
constexpr int kTilePatches = 8;
constexpr int kTileColumns = 64;
/// Row length in shared memory: a multiple of 4 for aligned fours, and 4 banks further from row to
/// row, so that eight lanes read fours of eight rows without conflict.
constexpr int kStagedRow = kTileColumns + 4;
/// Fours that a thread stages: 16 threads cover a row's 64 columns, 16 rows at a time.
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

struct Selection {
  uint32_t keys[kMaxPatches];
  /// One bit per patch: it is kept.
  uint32_t keptBits[kMaxPatches / 32];
  int32_t chosen[kMaxTopk];
};

/// The block's shared memory, by phase: each use follows the one before.
union Scratch {
  Staged staged;
  Reduced reduced;
  Selection selection;
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

/// Similarities of a tile of patches, and their scores to the workspace.
template <typename T, bool InFours>
__device__ inline void scoreTile(const InstructionTopKParams& p, Scratch& shared,
                                 Lengths& lengths) {
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

// ---- the last block ----

/// True in every thread of the image's last block, once the scores of all others can be read. The
/// counter wraps to zero, which is what the next launch expects.
__device__ inline bool isLastOfImage(uint32_t* tickets, int& last) {
  // All scores of this block are written; the fence puts them before the ticket for everyone.
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    const unsigned ticket = atomicInc(&tickets[blockIdx.y], gridDim.x - 1);
    // The others' writes before their tickets come before this block's reads.
    __threadfence();
    last = ticket == gridDim.x - 1;
  }
  __syncthreads();
  return last != 0;
}

// ---- selection and gather ----

/// Copies `rows` rows of `units` units, row i from row `chosen[i]`. Several loads are under way
/// before the first store: one block moves all rows of an image.
template <typename Unit>
__device__ inline void gatherRows(const void* from, const int32_t* chosen, int rows, int units,
                                  void* to) {
  constexpr int kAtOnce = 6;
  const Unit* in = static_cast<const Unit*>(from);
  Unit* out = static_cast<Unit*>(to);
  const int total = rows * units;
  for (int first = threadIdx.x; first < total; first += kAtOnce * kThreads) {
    Unit held[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = first + i * kThreads;
      if (at < total) held[i] = in[static_cast<int64_t>(chosen[at / units]) * units + at % units];
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = first + i * kThreads;
      if (at < total) out[at] = held[i];
    }
  }
}

/// Ranks all patches of the block's image and writes the kept ones.
template <typename T>
__device__ inline void selectPatches(const InstructionTopKParams& p, Selection& shared) {
  const int thread = threadIdx.x, lane = thread % 32;
  const int64_t imageRow = static_cast<int64_t>(blockIdx.y) * p.patches;
  const float* scores = static_cast<const float*>(p.workspace) + imageRow;

  // 6. Scores as keys.
  for (int i = thread; i < p.patches; i += kThreads) shared.keys[i] = scoreKey(scores[i]);
  __syncthreads();

  // 7. Rank by counting. Whole warps go through, so that the ballot has all its lanes.
  for (int i = thread; i - lane < p.patches; i += kThreads) {
    const bool kept = i < p.patches && rankOf(shared.keys, p.patches, i) < p.topk;
    const uint32_t bits = __ballot_sync(0xffffffffu, kept);
    if (lane == 0) shared.keptBits[i / 32] = bits;
  }
  __syncthreads();

  // 8. A kept patch's place is the number of kept patches before it.
  for (int i = thread; i < p.patches; i += kThreads) {
    const uint32_t bits = shared.keptBits[i / 32];
    if ((bits >> (i % 32) & 1u) == 0) continue;
    int place = __popc(bits & ((1u << (i % 32)) - 1u));
    for (int word = 0; word < i / 32; ++word) place += __popc(shared.keptBits[word]);
    shared.chosen[place] = i;
  }
  __syncthreads();

  // 9. Indices and rows, in sixteen bytes at a time where all rows begin at a multiple of that.
  const int64_t imageKept = static_cast<int64_t>(blockIdx.y) * p.topk;
  for (int i = thread; i < p.topk; i += kThreads) p.indices[imageKept + i] = shared.chosen[i];
  const T* from = static_cast<const T*>(p.patchRows) + imageRow * p.width;
  T* to = static_cast<T*>(p.kept) + imageKept * p.width;
  const size_t rowBytes = static_cast<size_t>(p.width) * sizeof(T);
  const uintptr_t addresses =
      reinterpret_cast<uintptr_t>(p.patchRows) | reinterpret_cast<uintptr_t>(p.kept) | rowBytes;
  if (addresses % sizeof(Chunk16) == 0) {
    gatherRows<Chunk16>(from, shared.chosen, p.topk, static_cast<int>(rowBytes / sizeof(Chunk16)),
                        to);
  } else {
    gatherRows<T>(from, shared.chosen, p.topk, p.width, to);
  }
}

template <typename T, bool InFours>
__global__ void __launch_bounds__(kThreads, 2)
    instructionTopKKernel(const InstructionTopKParams p) {
  __shared__ Scratch scratch;
  __shared__ Lengths lengths;
  __shared__ int last;
  scoreTile<T, InFours>(p, scratch, lengths);
  if (isLastOfImage(p.tickets, last)) selectPatches<T>(p, scratch.selection);
}

template <typename T>
Status launchTyped(const InstructionTopKParams& p, cudaStream_t stream) {
  const dim3 tiles(ceilDivide(p.patches, kTilePatches), p.images);
  const bool fours = inFours<T>(p.patchRows, p.width) && inFours<T>(p.textRows, p.width);
  return fours ? launch(instructionTopKKernel<T, true>, tiles, dim3(kThreads), 0, stream, p)
               : launch(instructionTopKKernel<T, false>, tiles, dim3(kThreads), 0, stream, p);
}

}  // namespace

Status launchInstructionTopK(const InstructionTopKParams& params, cudaStream_t stream) {
  const Status status = checkInstructionTopK(params);
  if (status != kOk) return status;
  if (!isAligned(params.tickets, sizeof(uint32_t))) return kBadPointer;
  return withType(params.type,
                  [&](auto zero) { return launchTyped<decltype(zero)>(params, stream); });
}

}  // namespace semanticvla::kernels
