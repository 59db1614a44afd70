#pragma once

// From a frame, or its image after the round trip, to the towers' inputs in one block for a few
// output rows: Lanczos to 224 x 224, centre crop, bicubic to S x S where S is another size,
// normalization. Rows in between stay in shared memory; those at the border of two blocks' shares
// are computed by both.
//
// Floating-point operations are the explicitly rounded ones: a compiler that fused a multiplication
// with an addition would move pixels by a level.

#include "kernels/convert.cuh"
#include "kernels/preprocessJob.cuh"

namespace semanticvla::kernels {

constexpr int kResizeThreads = 384;
/// Output rows per block: more share the rows they need, fewer spread over more blocks.
constexpr int kPlainRows = 2;
constexpr int kAgainRows = 4;
/// A thread has one column of S; a block's share is a strip of the image when S is more.
constexpr int kStrip = kResizeThreads;
constexpr int kRowBytes = 3 * kReferenceSide;

struct ResizeShared {
  /// Sums of the vertical pass, channels as in the source.
  alignas(16) float tall[3 * kMaxColumns];
  /// Two rows of the 224 x 224 image, and one after the crop.
  uint8_t resized[2][kRowBytes];
  uint8_t cropped[kRowBytes];
};

// ---- Lanczos ----

/// Nearest integer, half to even, clipped: adding 1.5 * 2^23 rounds.
__device__ inline uint8_t roundSample(float x) {
  constexpr float kRound = 12582912.0f;
  const float rounded = __fsub_rn(__fadd_rn(x, kRound), kRound);
  return static_cast<uint8_t>(static_cast<int>(fminf(fmaxf(rounded, 0.0f), 255.0f)));
}

/// The unit in which a thread loads a row.
template <int Count>
struct alignas(Count) Bytes {
  uint8_t at[Count];
};

/// Row `y` of the vertical pass, `count` values from value `first` of the row on: the sum over the
/// taps in ascending order from zero, each product and sum rounded.
template <int Count>
__device__ inline void verticalPass(const uint8_t* in, int64_t rowBytes,
                                    const TapTable<float>& table, int y, int first, int count,
                                    float* tall) {
  const float* weights = table.weights + static_cast<int64_t>(y) * table.taps;
  const uint8_t* top = in + table.start[y] * rowBytes + first;
  const int taps = table.count[y];
  for (int i = Count * static_cast<int>(threadIdx.x); i < count; i += Count * kResizeThreads) {
    float sum[Count] = {};
#pragma unroll 4
    for (int k = 0; k < taps; ++k) {
      const auto value = *reinterpret_cast<const Bytes<Count>*>(top + k * rowBytes + i);
      for (int j = 0; j < Count; ++j) {
        sum[j] = __fadd_rn(sum[j], __fmul_rn(weights[k], static_cast<float>(value.at[j])));
      }
    }
    for (int j = 0; j < Count; ++j) tall[i + j] = sum[j];
  }
}

/// Row `y` of a frame's 224 x 224 image into `out`, as red, green, blue. Ends with a barrier, and
/// has one before it writes to `out`, which others may still read.
__device__ inline void resizedRow(const PreprocessJob& job, int image, int y, float* tall,
                                  uint8_t* out) {
  const PreprocessFrame& frame = job.p.frames[image];
  const bool isDecoded = job.p.jpeg && resizes(frame);
  // The round trip's result is RGB whatever the frame was.
  const bool swapped = frame.bgr && !isDecoded;
  const uint8_t* in = isDecoded ? decodedOf(job, image) : frame.pixels;
  const int64_t rowBytes = static_cast<int64_t>(frame.width) * 3;
  if (!resizes(frame)) {
    __syncthreads();
    for (int i = threadIdx.x; i < kRowBytes; i += kResizeThreads) {
      out[i] = in[y * rowBytes + (swapped ? i / 3 * 3 + 2 - i % 3 : i)];
    }
    __syncthreads();
    return;
  }
  const TapTable<float>& table = frame.horizontal;
  const bool inFours =
      (reinterpret_cast<uintptr_t>(in) | static_cast<uintptr_t>(rowBytes)) % 4 == 0;
  for (int first = 0; first < kReferenceSide; first += frame.outputsAtOnce) {
    const int end = min(first + frame.outputsAtOnce, kReferenceSide);
    // From a multiple of four columns on, which is one of four bytes, to one.
    const int left = table.start[first] / 4 * 4;
    const int right = table.start[end - 1] + table.count[end - 1];
    if (inFours) {
      verticalPass<4>(in, rowBytes, frame.vertical, y, 3 * left, (right + 3) / 4 * 12 - 3 * left,
                      tall);
    } else {
      verticalPass<1>(in, rowBytes, frame.vertical, y, 3 * left, 3 * (right - left), tall);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 3 * (end - first); i += kResizeThreads) {
      const int x = first + i / 3, c = swapped ? 2 - i % 3 : i % 3;
      const float* weights = table.weights + static_cast<int64_t>(x) * table.taps;
      const float* pixel = tall + (table.start[x] - left) * 3 + c;
      const int taps = table.count[x];
      float sum = 0.0f;
      for (int k = 0; k < taps; ++k) sum = __fadd_rn(sum, __fmul_rn(weights[k], pixel[3 * k]));
      out[3 * first + i] = roundSample(sum);
    }
    __syncthreads();
  }
}

// ---- crop ----

__device__ inline float lerp(float a, float b, float t) {
  return __fadd_rn(a, __fmul_rn(__fsub_rn(b, a), t));
}

/// uint8 to [0, 1] as TensorFlow does it: times the rounded 1 / 255.
__device__ inline float unitOf(uint8_t x) {
  return __fmul_rn(static_cast<float>(x), static_cast<float>(1.0 / 255.0));
}

/// Channel `c` of column `x` of the crop's row `y`, from the rows it lies between: bilinear along x
/// in both, then along y; back to uint8 by truncation.
__device__ inline uint8_t croppedSample(const CropTable& crop, const uint8_t* top,
                                        const uint8_t* bottom, int x, int y, int c) {
  const int left = crop.low[x] * 3 + c, right = crop.high[x] * 3 + c;
  const float upper = lerp(unitOf(top[left]), unitOf(top[right]), crop.lerp[x]);
  const float lower = lerp(unitOf(bottom[left]), unitOf(bottom[right]), crop.lerp[x]);
  const float blended = fminf(fmaxf(lerp(upper, lower, crop.lerp[y]), 0.0f), 1.0f);
  return static_cast<uint8_t>(min(static_cast<int>(__fmul_rn(blended, 255.5f)), 255));
}

// ---- bicubic ----

/// Fractional bits of the weights.
constexpr int kBicubicBits = 22;
constexpr int32_t kBicubicHalf = 1 << (kBicubicBits - 1);

__device__ inline int32_t bicubicSample(int32_t sum) {
  return min(max(sum >> kBicubicBits, 0), 255);
}

/// Column `x` of S from a row of 224.
__device__ inline int32_t acrossRow(const TapTable<int32_t>& table, const uint8_t* row, int x,
                                    int c) {
  const int32_t* weights = table.weights + static_cast<int64_t>(x) * table.taps;
  const uint8_t* pixel = row + table.start[x] * 3 + c;
  const int taps = table.count[x];
  int32_t sum = kBicubicHalf;
  for (int k = 0; k < taps; ++k) sum += pixel[3 * k] * weights[k];
  return bicubicSample(sum);
}

/// Weight of row `y` of 224 in output row `row`.
__device__ inline int32_t weightOf(const TapTable<int32_t>& table, int row, int y) {
  const int k = y - table.start[row];
  if (k < 0 || k >= table.count[row]) return 0;
  return table.weights[static_cast<int64_t>(row) * table.taps + k];
}

// ---- the kernel ----

/// One value into the policy image and both towers' inputs, channels first.
template <typename T>
__device__ inline void storeSample(const PreprocessImagesParams& p, int image, int x, int y, int c,
                                   uint8_t value) {
  const int64_t pixels = static_cast<int64_t>(p.imageSide) * p.imageSide;
  const int64_t at = static_cast<int64_t>(y) * p.imageSide + x;
  p.cropped[(image * pixels + at) * 3 + c] = value;
  const float unit = __fdiv_rn(static_cast<float>(value), 255.0f);
  for (const TowerInput& input : p.towers) {
    if (input.pixels == nullptr) continue;
    static_cast<T*>(input.pixels)[(static_cast<int64_t>(image) * 3 + c) * pixels + at] =
        fromFloat<T>(__fdiv_rn(__fsub_rn(unit, input.mean[c]), input.std[c]));
  }
}

/// `Again`: S is not 224. Kernels of their own, so that the usual one needs no registers for sums.
template <typename T, bool Again>
__global__ void __launch_bounds__(kResizeThreads, Again ? 1 : 2)
    resizeKernel(const PreprocessJob job) {
  __shared__ ResizeShared shared;
  const PreprocessImagesParams& p = job.p;
  const int image = blockIdx.z, side = p.imageSide, thread = threadIdx.x;
  const int firstRow = static_cast<int>(blockIdx.y) * job.rows;
  const int endRow = min(firstRow + job.rows, side);
  const int x = static_cast<int>(blockIdx.x) * kStrip + thread;
  const int begin = Again ? p.again.start[firstRow] : firstRow;
  const int end = Again ? p.again.start[endRow - 1] + p.again.count[endRow - 1] : endRow;
  // Integers: in which order rows are added does not matter.
  int32_t sums[kAgainRows][3];
  for (auto& row : sums) row[0] = row[1] = row[2] = kBicubicHalf;

  // Rows of the 224 x 224 image that the two places hold: the crop's rows mostly share one.
  int held0 = -1, held1 = -1;
  for (int y = begin; y < end; ++y) {
    // 1. The two rows that the crop's row y lies between, where they are not there yet.
    const int low = p.centerCrop ? p.crop.low[y] : y, high = p.centerCrop ? p.crop.high[y] : y;
#pragma unroll 1
    for (int i = 0; i < 2; ++i) {
      const int row = i == 0 ? low : high, other = i == 0 ? high : low;
      if (held0 == row || held1 == row) continue;
      const int place = held0 == other ? 1 : 0;
      resizedRow(job, image, row, shared.tall, shared.resized[place]);
      (place == 0 ? held0 : held1) = row;
    }
    const uint8_t* top = shared.resized[held0 == low ? 0 : 1];
    const uint8_t* bottom = shared.resized[held0 == high ? 0 : 1];

    // 2. The crop's row y, which is the output where S is 224.
    for (int i = thread; i < kRowBytes; i += kResizeThreads) {
      const uint8_t value =
          p.centerCrop ? croppedSample(p.crop, top, bottom, i / 3, y, i % 3) : top[i];
      if (Again) {
        shared.cropped[i] = value;
      } else {
        storeSample<T>(p, image, i / 3, y, i % 3, value);
      }
    }
    if (!Again) continue;
    __syncthreads();

    // 3. Across to S columns, and into the sums of the output rows.
    if (x < side) {
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        const int32_t value = acrossRow(p.again, shared.cropped, x, c);
#pragma unroll
        for (int r = 0; r < kAgainRows; ++r) {
          if (firstRow + r < endRow) sums[r][c] += value * weightOf(p.again, firstRow + r, y);
        }
      }
    }
    // The next row's samples go where these were.
    __syncthreads();
  }
  if (!Again || x >= side) return;

  // 4. The output rows. Each thread's samples pass through its own places in shared memory: one
  //    piece of code then stores all of them.
  static_assert(sizeof(shared.tall) >= kAgainRows * 3 * kResizeThreads, "a place for each sample");
  uint8_t* const samples = reinterpret_cast<uint8_t*>(shared.tall) + thread;
#pragma unroll
  for (int i = 0; i < kAgainRows * 3; ++i) {
    samples[i * kResizeThreads] = static_cast<uint8_t>(bicubicSample(sums[i / 3][i % 3]));
  }
  for (int i = 0; i < (endRow - firstRow) * 3; ++i) {
    storeSample<T>(p, image, x, firstRow + i / 3, i % 3, samples[i * kResizeThreads]);
  }
}

}  // namespace semanticvla::kernels
