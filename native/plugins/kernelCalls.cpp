#include "plugins/kernelCalls.h"

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "kernels/channelConcat.h"
#include "kernels/instructionTopK.h"
#include "kernels/swigluLevels.h"
#include "kernels/textGuidedPooling.h"
#include "plugins/limits.h"

namespace semanticvla::plugins::kernels {

namespace {

using semanticvla::kernels::ChannelConcatParams;
using semanticvla::kernels::InstructionTopKParams;
using semanticvla::kernels::Status;
using semanticvla::kernels::SwigluLevelsParams;
using semanticvla::kernels::TextGuidedPoolingParams;

static_assert(kMostPatches == semanticvla::kernels::kMaxPatches,
              "limits.h states the kernels' limits");
static_assert(kMostTextTokens == semanticvla::kernels::kMaxTextTokens,
              "limits.h states the kernels' limits");
static_assert(kMostImages == semanticvla::kernels::kMaxImages,
              "limits.h states the kernels' limits");
static_assert(
    [] {
      for (const int32_t block : kRotatedBlocks)
        if (!semanticvla::kernels::isRotatedBlock(block)) return false;
      return true;
    }(),
    "limits.h states the kernels' limits");
static_assert(kMostTopk == semanticvla::kernels::kMaxTopk, "limits.h states the kernels' limits");

semanticvla::kernels::DataType toKernelType(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return semanticvla::kernels::DataType::kFloat32;
    case nvinfer1::DataType::kHALF:
      return semanticvla::kernels::DataType::kFloat16;
    case nvinfer1::DataType::kBF16:
      return semanticvla::kernels::DataType::kBfloat16;
    default:
      throw std::invalid_argument("no kernel for type " +
                                  std::to_string(static_cast<int32_t>(type)));
  }
}

/// Sizes are bounded by checkShapes and the kernel's own check.
int32_t size(const nvinfer1::Dims& dims, int32_t axis) {
  return static_cast<int32_t>(dims.d[axis]);
}

void check(Status status) {
  if (status == semanticvla::kernels::kOk) return;
  // above zero it is CUDA's own
  const std::string reason =
      status < 0 ? std::string()
                 : std::string(": ") + cudaGetErrorString(static_cast<cudaError_t>(status));
  throw std::runtime_error(std::string(semanticvla::kernels::statusText(status)) + " (" +
                           std::to_string(status) + reason + ")");
}

void checkCuda(cudaError_t error, size_t bytes) {
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::to_string(bytes) +
                           " bytes of device memory for counters: " + cudaGetErrorString(error));
}

/// A tool may run a copy of the plugin for the first time while this thread captures another
/// stream. A capture forbids allocations unless the thread permits them explicitly.
class AllowAllocation {
 public:
  AllowAllocation() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~AllowAllocation() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  AllowAllocation(const AllowAllocation&) = delete;
  AllowAllocation& operator=(const AllowAllocation&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

/// A stream of its own: the default one would wait for the others' streams and break their
/// captures.
class ZeroingStream {
 public:
  explicit ZeroingStream(size_t bytes) {
    checkCuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), bytes);
  }
  ~ZeroingStream() { cudaStreamDestroy(stream_); }
  ZeroingStream(const ZeroingStream&) = delete;
  ZeroingStream& operator=(const ZeroingStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace

Tickets makeTickets(int64_t count) {
  const size_t bytes = static_cast<size_t>(count) * sizeof(uint32_t);
  const AllowAllocation allowed;
  void* memory = nullptr;
  checkCuda(cudaMalloc(&memory, bytes), bytes);
  Tickets tickets(static_cast<uint32_t*>(memory), [](uint32_t* at) { cudaFree(at); });
  const ZeroingStream stream(bytes);
  checkCuda(cudaMemsetAsync(memory, 0, bytes, stream.get()), bytes);
  // The plugin's stream need not wait for the one that has just zeroed them.
  checkCuda(cudaStreamSynchronize(stream.get()), bytes);
  return tickets;
}

size_t instructionTopKWorkspace(const nvinfer1::Dims& patches, const nvinfer1::Dims&) {
  return semanticvla::kernels::instructionTopKWorkspace(size(patches, 0), size(patches, 1));
}

void callInstructionTopK(const nvinfer1::PluginTensorDesc* inputDesc, int32_t topk,
                         const void* const* inputs, void* const* outputs, void* workspace,
                         uint32_t* tickets, cudaStream_t stream) {
  const nvinfer1::Dims& patches = inputDesc[0].dims;
  InstructionTopKParams params;
  params.type = toKernelType(inputDesc[0].type);
  params.images = size(patches, 0);
  params.patches = size(patches, 1);
  params.width = size(patches, 2);
  params.textTokens = size(inputDesc[1].dims, 0);
  params.topk = topk;
  params.patchRows = inputs[0];
  params.textRows = inputs[1];
  params.mask = static_cast<const uint8_t*>(inputs[2]);
  params.kept = outputs[0];
  params.indices = static_cast<int64_t*>(outputs[1]);
  params.similarity = static_cast<float*>(outputs[2]);
  params.workspace = workspace;
  params.workspaceBytes =
      semanticvla::kernels::instructionTopKWorkspace(params.images, params.patches);
  params.tickets = tickets;
  check(semanticvla::kernels::launchInstructionTopK(params, stream));
}

size_t textGuidedPoolingWorkspace(const nvinfer1::Dims&, const nvinfer1::Dims&, int32_t) {
  return 0;
}

void callTextGuidedPooling(const nvinfer1::PluginTensorDesc* inputDesc, int32_t topk,
                           float temperature, const void* const* inputs, void* const* outputs,
                           void*, cudaStream_t stream) {
  const nvinfer1::Dims& patches = inputDesc[0].dims;
  TextGuidedPoolingParams params;
  params.type = toKernelType(inputDesc[0].type);
  params.images = size(patches, 0);
  params.patches = size(patches, 1);
  params.width = size(patches, 2);
  params.textTokens = size(inputDesc[1].dims, 2);
  params.topk = topk;
  params.temperature = temperature;
  params.patchRows = inputs[0];
  params.similarity = static_cast<const float*>(inputs[1]);
  params.pooled = outputs[0];
  params.indices = static_cast<int64_t*>(outputs[1]);
  check(semanticvla::kernels::launchTextGuidedPooling(params, stream));
}

void callChannelConcat(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
                       void* const* outputs, cudaStream_t stream) {
  const nvinfer1::Dims& left = inputDesc[0].dims;
  ChannelConcatParams params;
  params.type = toKernelType(inputDesc[0].type);
  params.images = size(left, 0);
  params.rows = size(left, 1);
  params.leftRows = params.rows;
  params.leftWidth = size(left, 2);
  params.rightWidth = size(inputDesc[1].dims, 2);
  params.left = inputs[0];
  params.right = inputs[1];
  params.joined = outputs[0];
  check(semanticvla::kernels::launchChannelConcat(params, stream));
}

void callSwigluLevels(const nvinfer1::PluginTensorDesc* inputDesc, int32_t block,
                      const void* const* inputs, void* const* outputs, cudaStream_t stream) {
  const nvinfer1::Dims& sums = inputDesc[0].dims;
  SwigluLevelsParams params;
  params.type = toKernelType(inputDesc[0].type);
  params.rows = size(sums, 0);
  params.width = size(sums, 1) / 2;
  params.block = block;
  params.sums = inputs[0];
  params.byToken = static_cast<const float*>(inputs[1]);
  params.byChannel = static_cast<const float*>(inputs[2]);
  params.levels = static_cast<int8_t*>(outputs[0]);
  params.scales = static_cast<float*>(outputs[1]);
  check(semanticvla::kernels::launchSwigluLevels(params, stream));
}

}  // namespace semanticvla::plugins::kernels
