#include <stdexcept>

#include "plugins/kernelCalls.h"

namespace semanticvla::plugins::kernels {

namespace {

[[noreturn]] void refuse() {
  throw std::runtime_error(
      "this module was built without nvcc and holds no kernels: it builds engines but does not run "
      "them. "
      "Install a CUDA toolkit, or run scripts/fetchNvcc.sh, and repeat npm run build:native");
}

}  // namespace

Tickets makeTickets(int64_t) { return noTickets(); }

size_t instructionTopKWorkspace(const nvinfer1::Dims&, const nvinfer1::Dims&) { return 0; }

void callInstructionTopK(const nvinfer1::PluginTensorDesc*, int32_t, const void* const*,
                         void* const*, void*, uint32_t*, cudaStream_t) {
  refuse();
}

size_t textGuidedPoolingWorkspace(const nvinfer1::Dims&, const nvinfer1::Dims&, int32_t) {
  return 0;
}

void callTextGuidedPooling(const nvinfer1::PluginTensorDesc*, int32_t, float, const void* const*,
                           void* const*, void*, cudaStream_t) {
  refuse();
}

void callChannelConcat(const nvinfer1::PluginTensorDesc*, const void* const*, void* const*,
                       cudaStream_t) {
  refuse();
}

void callSwigluLevels(const nvinfer1::PluginTensorDesc*, int32_t, const void* const*, void* const*,
                      cudaStream_t) {
  refuse();
}

}  // namespace semanticvla::plugins::kernels
