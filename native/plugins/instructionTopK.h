#pragma once

#include "plugins/kernelCalls.h"
#include "plugins/operation.h"

namespace semanticvla::plugins {

/// ID-Pruner, patch side. patches [I, N, W], text [M, W], mask [M] bool -> kept [I, k, W], indices
/// int64 [I, k] ascending, similarity float32 [I, N, M]. Kernel: native/kernels/instructionTopK.
class InstructionTopK final : public Operation {
 public:
  explicit InstructionTopK(int32_t topk);
  static std::unique_ptr<Operation> fromFields(const nvinfer1::PluginFieldCollection* fields);

  static constexpr const char* kName = "instructionTopK";
  const char* name() const override { return kName; }
  std::unique_ptr<Operation> clone() const override;
  std::vector<Attribute> attributes() const override;
  int32_t inputCount() const override { return 3; }
  int32_t outputCount() const override { return 3; }
  bool supports(int32_t position, const nvinfer1::DataType* types) const override;
  void outputTypes(const nvinfer1::DataType* inputs, nvinfer1::DataType* outputs) const override;
  void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                    nvinfer1::IExprBuilder& expressions) const override;
  void checkShapes(const nvinfer1::Dims* inputs) const override;
  size_t workspace(const nvinfer1::PluginTensorDesc* inputs) const override;
  void attach() override;
  void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
               void* const* outputs, void* workspace, cudaStream_t stream) override;

 private:
  int32_t topk_;
  /// Of this copy alone; none before `attach` or the first run.
  kernels::Tickets tickets_ = kernels::noTickets();
};

}  // namespace semanticvla::plugins
