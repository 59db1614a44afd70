#pragma once

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace semanticvla::plugins::kernels {

/// TensorRT's descriptions to the launchers' parameters (native/kernels). Two implementations:
/// kernelCalls.cpp, and noKernels.cpp for a build without nvcc, whose engines can be built and
/// audited but not run.

/// Counters in device memory that the kernel leaves at zero (kernels/instructionTopK.h).
using Tickets = std::unique_ptr<uint32_t, void (*)(uint32_t*)>;
inline Tickets noTickets() {
  return Tickets(nullptr, [](uint32_t*) {});
}
/// `count` counters, all zero, on the current device.
Tickets makeTickets(int64_t count);

size_t instructionTopKWorkspace(const nvinfer1::Dims& patches, const nvinfer1::Dims& text);
void callInstructionTopK(const nvinfer1::PluginTensorDesc* inputDesc, int32_t topk,
                         const void* const* inputs, void* const* outputs, void* workspace,
                         uint32_t* tickets, cudaStream_t stream);

size_t textGuidedPoolingWorkspace(const nvinfer1::Dims& patches, const nvinfer1::Dims& similarity,
                                  int32_t topk);
void callTextGuidedPooling(const nvinfer1::PluginTensorDesc* inputDesc, int32_t topk,
                           float temperature, const void* const* inputs, void* const* outputs,
                           void* workspace, cudaStream_t stream);

void callChannelConcat(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
                       void* const* outputs, cudaStream_t stream);

void callSwigluLevels(const nvinfer1::PluginTensorDesc* inputDesc, int32_t block,
                      const void* const* inputs, void* const* outputs, cudaStream_t stream);

}  // namespace semanticvla::plugins::kernels
