#include <stdlib.h>

#include "cuda_runtime.h"

// "Device" memory is the host's: with -fsanitize=address every access outside an allocation is
// seen.

int shim::put(CUstream_st*, std::function<int()> launch) { return launch(); }

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return posix_memalign(pointer, 256, bytes) == 0 ? cudaSuccess : 2;
}

cudaError_t cudaFree(void* pointer) {
  free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return cudaSuccess;
}

cudaError_t cudaMemset(void* at, int value, size_t bytes) {
  if (bytes > 0) std::memset(at, value, bytes);
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorLaunchFailure:
      return shim::lastFault().c_str();
    default:
      return "error of the stand-in";
  }
}
