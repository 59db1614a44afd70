// One block per row: rows are contiguous, so a block copies whole sectors.

#include "kernels/copyRows.cuh"
#include "kernels/launch.cuh"
#include "kernels/queryRows.h"

namespace semanticvla::kernels {

namespace {

constexpr int kThreads = 128;

template <typename Unit>
__global__ void __launch_bounds__(kThreads) queryRowsKernel(const QueryRowsParams p) {
  const int64_t bytes = p.width * elementBytes(p.type);
  const int64_t from = static_cast<int64_t>(blockIdx.y) * p.tokens + p.first + blockIdx.x;
  const int64_t to = static_cast<int64_t>(blockIdx.y) * p.rows + blockIdx.x;
  copyUnits<Unit>(static_cast<const char*>(p.tokenRows) + from * bytes,
                  static_cast<char*>(p.queries) + to * bytes, bytes / sizeof(Unit));
}

}  // namespace

Status launchQueryRows(const QueryRowsParams& params, cudaStream_t stream) {
  const Status status = checkQueryRows(params);
  if (status != kOk) return status;
  const dim3 grid(params.rows, params.images);
  const size_t unit = copyUnit({static_cast<uintptr_t>(params.width) * sizeOf(params.type),
                                reinterpret_cast<uintptr_t>(params.tokenRows),
                                reinterpret_cast<uintptr_t>(params.queries)});
  const auto kernel = unit == 16  ? queryRowsKernel<Chunk16>
                      : unit == 4 ? queryRowsKernel<uint32_t>
                                  : queryRowsKernel<uint16_t>;
  return launch(kernel, grid, dim3(kThreads), 0, stream, params);
}

}  // namespace semanticvla::kernels
