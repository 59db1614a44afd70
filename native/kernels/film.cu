// For engines whose compiler does not fold FiLM into the GEMM before it. A block keeps 256 channels
// and walks down the rows, so gamma and beta are read once.

#include "kernels/convert.cuh"
#include "kernels/film.h"
#include "kernels/launch.cuh"

namespace semanticvla::kernels {

namespace {

constexpr int kThreads = 256;
/// Rows per block.
constexpr int kRows = 8;

template <typename T>
__global__ void __launch_bounds__(kThreads) filmKernel(const FilmParams p) {
  const int channel = blockIdx.y * kThreads + threadIdx.x;
  if (channel >= p.width) return;
  const float scale = 1.0f + toFloat(static_cast<const T*>(p.gamma)[channel]);
  const float shift = toFloat(static_cast<const T*>(p.beta)[channel]);
  const int first = blockIdx.x * kRows;
  for (int row = first; row < first + kRows && row < p.rows; ++row) {
    const int64_t at = static_cast<int64_t>(row) * p.width + channel;
    const float value = toFloat(static_cast<const T*>(p.tokens)[at]);
    static_cast<T*>(p.modulated)[at] = fromFloat<T>(fmaf(value, scale, shift));
  }
}

template <typename T>
Status launchTyped(const FilmParams& p, cudaStream_t stream) {
  const dim3 grid(ceilDivide(p.rows, kRows), ceilDivide(p.width, kThreads));
  return launch(filmKernel<T>, grid, dim3(kThreads), 0, stream, p);
}

}  // namespace

Status launchFilm(const FilmParams& params, cudaStream_t stream) {
  const Status status = checkFilm(params);
  if (status != kOk) return status;
  return withType(params.type,
                  [&](auto zero) { return launchTyped<decltype(zero)>(params, stream); });
}

}  // namespace semanticvla::kernels
