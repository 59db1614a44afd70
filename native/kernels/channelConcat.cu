// One block per row. It replaces extraction and concatenation: the query rows go from the tower's
// output straight into the projector's input.

#include "kernels/channelConcat.h"
#include "kernels/copyRows.cuh"
#include "kernels/launch.cuh"

namespace semanticvla::kernels {

namespace {

constexpr int kThreads = 128;

template <typename Unit>
__global__ void __launch_bounds__(kThreads) channelConcatKernel(const ChannelConcatParams p) {
  const int64_t element = elementBytes(p.type);
  const int64_t leftBytes = p.leftWidth * element, rightBytes = p.rightWidth * element;
  const int64_t leftRow = static_cast<int64_t>(blockIdx.y) * p.leftRows + p.leftFirst + blockIdx.x;
  const int64_t row = static_cast<int64_t>(blockIdx.y) * p.rows + blockIdx.x;
  char* out = static_cast<char*>(p.joined) + row * (leftBytes + rightBytes);
  copyUnits<Unit>(static_cast<const char*>(p.left) + leftRow * leftBytes, out,
                  leftBytes / sizeof(Unit));
  copyUnits<Unit>(static_cast<const char*>(p.right) + row * rightBytes, out + leftBytes,
                  rightBytes / sizeof(Unit));
}

}  // namespace

Status launchChannelConcat(const ChannelConcatParams& params, cudaStream_t stream) {
  const Status status = checkChannelConcat(params);
  if (status != kOk) return status;
  const dim3 grid(params.rows, params.images);
  const size_t element = sizeOf(params.type);
  const size_t unit =
      copyUnit({params.leftWidth * element, params.rightWidth * element,
                reinterpret_cast<uintptr_t>(params.left), reinterpret_cast<uintptr_t>(params.right),
                reinterpret_cast<uintptr_t>(params.joined)});
  const auto kernel = unit == 16  ? channelConcatKernel<Chunk16>
                      : unit == 4 ? channelConcatKernel<uint32_t>
                                  : channelConcatKernel<uint16_t>;
  return launch(kernel, grid, dim3(kThreads), 0, stream, params);
}

}  // namespace semanticvla::kernels
