// Five small launches for the whole batch, each over all frames: the passes of a JPEG round trip
// and of a resize need their predecessor's whole neighbourhood. A frame that does not need a
// pass leaves its blocks at once.
//
// Floating-point operations are the explicitly rounded ones: a compiler that fused a multiplication
// with an addition would move pixels by a level.

#include "kernels/convert.cuh"
#include "kernels/jpegColor.cuh"
#include "kernels/jpegTransform.cuh"
#include "kernels/launch.cuh"
#include "kernels/preprocessImages.h"

namespace semanticvla::kernels {

namespace {

/// Parameters and where each frame's buffers lie.
struct Job {
  PreprocessImagesParams p;
  PreprocessLayout at[kMaxFrames];
};

template <typename T>
__device__ inline T* inWorkspace(const Job& job, size_t offset) {
  return reinterpret_cast<T*>(static_cast<uint8_t*>(job.p.workspace) + offset);
}

__device__ inline bool resizes(const PreprocessFrame& frame) {
  return frame.width != kImageSide || frame.height != kImageSide;
}

__device__ inline Rgb pixelOf(const PreprocessFrame& frame, int x, int y) {
  const uint8_t* at = frame.pixels + (static_cast<int64_t>(y) * frame.width + x) * 3;
  return {at[frame.bgr ? 2 : 0], at[1], at[frame.bgr ? 0 : 2]};
}

// ---- JPEG: to quantized coefficients and back ----

/// Four MCUs side by side: 16 luma blocks in two rows, then 4 blocks of each chroma.
constexpr int kMcus = 4;
constexpr int kTileWidth = 16 * kMcus;
constexpr int kLumaBlocks = 4 * kMcus;
constexpr int kBlocks = kLumaBlocks + 2 * kMcus;
/// One thread a row or column of a block.
constexpr int kJpegThreads = 8 * kBlocks;

struct JpegShared {
  /// Two elements more a row: 8 threads that walk down rows then meet different banks.
  int16_t block[kBlocks][8][10];
};

__device__ const Quantization kQuantization[2] = {quantizationOf(reference::kLuminance),
                                                  quantizationOf(reference::kChrominance)};

__global__ void __launch_bounds__(kJpegThreads) jpegTransformKernel(const Job job) {
  __shared__ JpegShared shared;
  const int image = blockIdx.z;
  const PreprocessFrame& frame = job.p.frames[image];
  const int mcuRow = blockIdx.y, tileX = blockIdx.x * kTileWidth;
  if (!resizes(frame) || mcuRow * 16 >= frame.height || tileX >= frame.width) return;
  const int lastX = frame.width - 1, lastY = frame.height - 1;

  // 1. Color and 4:2:0, a thread for each 2 x 2 pixels. Past the right edge the last pixel repeats;
  //    past the bottom luma repeats the last row, and chroma the last downsampled row.
  for (int quad = threadIdx.x; quad < 8 * kTileWidth / 2; quad += kJpegThreads) {
    const int qx = quad % (kTileWidth / 2), qy = quad / (kTileWidth / 2);
    const int x = tileX + 2 * qx, y = mcuRow * 16 + 2 * qy;
    const int chromaY = min(y, lastY / 2 * 2);
    int32_t blue = 0, red = 0;
    for (int i = 0; i < 4; ++i) {
      const int px = min(x + i % 2, lastX);
      const int lx = 2 * qx + i % 2, ly = 2 * qy + i / 2;
      const int luma = lumaOf(pixelOf(frame, px, min(y + i / 2, lastY)));
      shared.block[ly / 8 * (2 * kMcus) + lx / 8][ly % 8][lx % 8] =
          static_cast<int16_t>(luma - 128);
      const Rgb pixel = pixelOf(frame, px, min(chromaY + i / 2, lastY));
      blue += blueOf(pixel);
      red += redOf(pixel);
    }
    // Rounding alternates between columns.
    const int bias = 1 + (qx & 1);
    const int block = kLumaBlocks + qx / 8;
    shared.block[block][qy][qx % 8] = static_cast<int16_t>(((blue + bias) >> 2) - 128);
    shared.block[block + kMcus][qy][qx % 8] = static_cast<int16_t>(((red + bias) >> 2) - 128);
  }
  __syncthreads();

  const int block = threadIdx.x / 8, line = threadIdx.x % 8;
  int16_t v[8];
  // 2. Forward along rows.
  for (int i = 0; i < 8; ++i) v[i] = shared.block[block][line][i];
  forwardPass<true>(v);
  for (int i = 0; i < 8; ++i) shared.block[block][line][i] = v[i];
  __syncthreads();

  // 3. Down columns: forward, quantization and back, inverse.
  for (int i = 0; i < 8; ++i) v[i] = shared.block[block][i][line];
  forwardPass<false>(v);
  const Quantization& table = kQuantization[block < kLumaBlocks ? 0 : 1];
  for (int i = 0; i < 8; ++i) v[i] = quantize(v[i], table, i * 8 + line);
  inversePass(v);
  for (int i = 0; i < 8; ++i) shared.block[block][i][line] = v[i];
  __syncthreads();

  // 4. Inverse along rows, to the planes. Their rows are whole tiles.
  for (int i = 0; i < 8; ++i) v[i] = shared.block[block][line][i];
  inversePass(v);
  const PreprocessLayout& at = job.at[image];
  uint8_t* out;
  if (block < kLumaBlocks) {
    const int y = mcuRow * 16 + block / (2 * kMcus) * 8 + line;
    out = inWorkspace<uint8_t>(job, at.luma) + static_cast<int64_t>(y) * at.lumaStride + tileX +
          block % (2 * kMcus) * 8;
  } else {
    const int plane = (block - kLumaBlocks) / kMcus, y = mcuRow * 8 + line;
    out = inWorkspace<uint8_t>(job, at.chroma[plane]) + static_cast<int64_t>(y) * at.chromaStride +
          tileX / 2 + (block - kLumaBlocks) % kMcus * 8;
  }
  for (int i = 0; i < 8; ++i) out[i] = sampleOf(v[i]);
}

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) jpegDecodeKernel(const Job job) {
  const int image = blockIdx.z;
  const PreprocessFrame& frame = job.p.frames[image];
  const int x = blockIdx.x * kThreads + threadIdx.x, y = blockIdx.y;
  if (!resizes(frame) || x >= frame.width || y >= frame.height) return;
  const PreprocessLayout& at = job.at[image];
  const int chromaWidth = (frame.width + 1) / 2, chromaHeight = (frame.height + 1) / 2;
  int32_t chroma[2];
  for (int plane = 0; plane < 2; ++plane) {
    chroma[plane] = upsampled(inWorkspace<uint8_t>(job, at.chroma[plane]), at.chromaStride,
                              chromaWidth, chromaHeight, x, y) -
                    128;
  }
  const int luma = inWorkspace<uint8_t>(job, at.luma)[static_cast<int64_t>(y) * at.lumaStride + x];
  storeColor(
      luma, chroma[0], chroma[1],
      inWorkspace<uint8_t>(job, at.decoded) + (static_cast<int64_t>(y) * frame.width + x) * 3);
}

// ---- resize ----

/// Sum over the taps in ascending order from zero, each product and sum rounded.
__global__ void __launch_bounds__(kThreads) verticalKernel(const Job job) {
  const int image = blockIdx.z, y = blockIdx.y;
  const PreprocessFrame& frame = job.p.frames[image];
  const int element = blockIdx.x * kThreads + threadIdx.x;
  if (!resizes(frame) || element >= 3 * frame.width) return;
  // The round trip's result is RGB whatever the frame was.
  const bool swapped = frame.bgr && !job.p.jpeg;
  const uint8_t* in = job.p.jpeg ? inWorkspace<uint8_t>(job, job.at[image].decoded) : frame.pixels;
  const int source = swapped ? element / 3 * 3 + 2 - element % 3 : element;
  const ResizeTable& table = frame.vertical;
  const float* weights = table.weights + static_cast<int64_t>(y) * table.taps;
  const int start = table.start[y], count = table.count[y];
  float sum = 0.0f;
  for (int k = 0; k < count; ++k) {
    const uint8_t value = in[static_cast<int64_t>(start + k) * frame.width * 3 + source];
    sum = __fadd_rn(sum, __fmul_rn(weights[k], static_cast<float>(value)));
  }
  inWorkspace<float>(job, job.at[image].tall)[static_cast<int64_t>(y) * frame.width * 3 + element] =
      sum;
}

/// Nearest integer, half to even, clipped: adding 1.5 * 2^23 rounds.
__device__ inline uint8_t roundSample(float x) {
  constexpr float kRound = 12582912.0f;
  const float rounded = __fsub_rn(__fadd_rn(x, kRound), kRound);
  return static_cast<uint8_t>(static_cast<int>(fminf(fmaxf(rounded, 0.0f), 255.0f)));
}

__global__ void __launch_bounds__(kThreads) horizontalKernel(const Job job) {
  const int image = blockIdx.z, y = blockIdx.y, x = threadIdx.x;
  const PreprocessFrame& frame = job.p.frames[image];
  if (!resizes(frame) || x >= kImageSide) return;
  const float* row =
      inWorkspace<float>(job, job.at[image].tall) + static_cast<int64_t>(y) * frame.width * 3;
  const ResizeTable& table = frame.horizontal;
  const float* weights = table.weights + static_cast<int64_t>(x) * table.taps;
  const float* pixel = row + static_cast<int64_t>(table.start[x]) * 3;
  const int count = table.count[x];
  float sum[3] = {};
  for (int k = 0; k < count; ++k) {
    for (int c = 0; c < 3; ++c) {
      sum[c] = __fadd_rn(sum[c], __fmul_rn(weights[k], pixel[3 * k + c]));
    }
  }
  uint8_t* out =
      job.p.resized + ((static_cast<int64_t>(image) * kImageSide + y) * kImageSide + x) * 3;
  for (int c = 0; c < 3; ++c) out[c] = roundSample(sum[c]);
}

// ---- crop and normalize ----

__device__ inline float lerp(float a, float b, float t) {
  return __fadd_rn(a, __fmul_rn(__fsub_rn(b, a), t));
}

/// uint8 to [0, 1] as TensorFlow does it: times the rounded 1 / 255.
__device__ inline float unitOf(uint8_t x) {
  return __fmul_rn(static_cast<float>(x), static_cast<float>(1.0 / 255.0));
}

template <typename T>
__global__ void __launch_bounds__(kThreads) cropNormalizeKernel(const Job job) {
  const int image = blockIdx.z, y = blockIdx.y, x = threadIdx.x;
  if (x >= kImageSide) return;
  const PreprocessFrame& frame = job.p.frames[image];
  const int64_t pixels = static_cast<int64_t>(kImageSide) * kImageSide;
  const bool resized = resizes(frame);
  const uint8_t* in = resized ? job.p.resized + image * pixels * 3 : frame.pixels;
  const bool swapped = frame.bgr && !resized;
  const int64_t at = static_cast<int64_t>(y) * kImageSide + x;
  for (int c = 0; c < 3; ++c) {
    const int source = swapped ? 2 - c : c;
    uint8_t value;
    if (job.p.centerCrop) {
      // 1. Bilinear: along x in both rows, then along y; back to uint8 by truncation.
      const CropTable& crop = job.p.crop;
      const uint8_t* top = in + static_cast<int64_t>(crop.low[y]) * kImageSide * 3 + source;
      const uint8_t* bottom = in + static_cast<int64_t>(crop.high[y]) * kImageSide * 3 + source;
      const int left = crop.low[x] * 3, right = crop.high[x] * 3;
      const float upper = lerp(unitOf(top[left]), unitOf(top[right]), crop.lerp[x]);
      const float lower = lerp(unitOf(bottom[left]), unitOf(bottom[right]), crop.lerp[x]);
      const float blended = fminf(fmaxf(lerp(upper, lower, crop.lerp[y]), 0.0f), 1.0f);
      value = static_cast<uint8_t>(min(static_cast<int>(__fmul_rn(blended, 255.5f)), 255));
    } else {
      value = in[at * 3 + source];
    }
    job.p.cropped[(image * pixels + at) * 3 + c] = value;
    // 2. Both towers, channels first.
    for (int tower = 0; tower < 2; ++tower) {
      const TowerInput& input = job.p.towers[tower];
      if (input.pixels == nullptr) continue;
      const float unit = __fdiv_rn(static_cast<float>(value), 255.0f);
      const float normal = __fdiv_rn(__fsub_rn(unit, input.mean[c]), input.std[c]);
      static_cast<T*>(input.pixels)[(static_cast<int64_t>(image) * 3 + c) * pixels + at] =
          fromFloat<T>(normal);
    }
  }
}

}  // namespace

Status launchPreprocessImages(const PreprocessImagesParams& params, cudaStream_t stream) {
  Status status = checkPreprocessImages(params);
  if (status != kOk) return status;
  Job job;
  job.p = params;
  size_t end = 0;
  unsigned width = 0, height = 0;
  for (int32_t i = 0; i < params.images; ++i) {
    const PreprocessFrame& frame = params.frames[i];
    job.at[i] = preprocessLayout(frame, params.jpeg, end);
    end = job.at[i].end;
    if (!isResized(frame)) continue;
    width = frame.width > static_cast<int32_t>(width) ? frame.width : width;
    height = frame.height > static_cast<int32_t>(height) ? frame.height : height;
  }
  const unsigned images = params.images;
  if (width > 0 && params.jpeg) {
    const dim3 tiles(ceilDivide(width, kTileWidth), ceilDivide(height, 16), images);
    status = launch(jpegTransformKernel, tiles, dim3(kJpegThreads), 0, stream, job);
    if (status != kOk) return status;
    const dim3 pixels(ceilDivide(width, kThreads), height, images);
    status = launch(jpegDecodeKernel, pixels, dim3(kThreads), 0, stream, job);
    if (status != kOk) return status;
  }
  if (width > 0) {
    const dim3 elements(ceilDivide(3 * width, kThreads), kImageSide, images);
    status = launch(verticalKernel, elements, dim3(kThreads), 0, stream, job);
    if (status != kOk) return status;
    const dim3 rows(1, kImageSide, images);
    status = launch(horizontalKernel, rows, dim3(kThreads), 0, stream, job);
    if (status != kOk) return status;
  }
  const dim3 rows(1, kImageSide, images);
  switch (params.type) {
    case DataType::kFloat16:
      return launch(cropNormalizeKernel<__half>, rows, dim3(kThreads), 0, stream, job);
    case DataType::kBfloat16:
      return launch(cropNormalizeKernel<__nv_bfloat16>, rows, dim3(kThreads), 0, stream, job);
    default:
      return launch(cropNormalizeKernel<float>, rows, dim3(kThreads), 0, stream, job);
  }
}

}  // namespace semanticvla::kernels
