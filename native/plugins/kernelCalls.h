#pragma once

#include <NvInferRuntime.h>

#include <cstddef>

namespace semanticvla::plugins::kernels {

/// TensorRT's descriptions to the launchers' parameters (native/kernels). Two implementations:
/// kernelCalls.cpp, and noKernels.cpp for a build without nvcc, whose engines can be built and
/// audited but not run.

size_t instructionTopKWorkspace(const nvinfer1::Dims& patches, const nvinfer1::Dims& text);
void callInstructionTopK(const nvinfer1::PluginTensorDesc* inputDesc, int32_t topk,
                         const void* const* inputs, void* const* outputs, void* workspace,
                         cudaStream_t stream);

size_t textGuidedPoolingWorkspace(const nvinfer1::Dims& patches, const nvinfer1::Dims& similarity,
                                  int32_t topk);
void callTextGuidedPooling(const nvinfer1::PluginTensorDesc* inputDesc, int32_t topk,
                           float temperature, const void* const* inputs, void* const* outputs,
                           void* workspace, cudaStream_t stream);

void callChannelConcat(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
                       void* const* outputs, cudaStream_t stream);

}  // namespace semanticvla::plugins::kernels
