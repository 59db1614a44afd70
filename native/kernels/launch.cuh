#pragma once

#include <cuda_runtime.h>

#include "kernels/status.h"

namespace semanticvla::kernels {

/// Starts `kernel`, which takes its parameters as one struct by value.
template <typename Params>
Status launch(void (*kernel)(const Params), dim3 grid, dim3 block, size_t sharedBytes,
              cudaStream_t stream, const Params& params) {
  Params copy = params;
  void* arguments[] = {&copy};
  return static_cast<Status>(cudaLaunchKernel(kernel, grid, block, arguments, sharedBytes, stream));
}

constexpr unsigned ceilDivide(unsigned value, unsigned by) { return (value + by - 1) / by; }

}  // namespace semanticvla::kernels
