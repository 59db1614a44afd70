#pragma once

#include "plugins/operation.h"

namespace semanticvla::plugins {

/// Sparse fusion, first half: left [I, K, A], right [I, K, B] -> joined [I, K, A + B]. Kernel:
/// native/kernels/channelConcat.
class ChannelConcat final : public Operation {
 public:
  static std::unique_ptr<Operation> fromFields(const nvinfer1::PluginFieldCollection* fields);

  static constexpr const char* kName = "channelConcat";
  const char* name() const override { return kName; }
  std::unique_ptr<Operation> clone() const override;
  std::vector<Attribute> attributes() const override;
  int32_t inputCount() const override { return 2; }
  int32_t outputCount() const override { return 1; }
  bool supports(int32_t position, const nvinfer1::DataType* types) const override;
  void outputTypes(const nvinfer1::DataType* inputs, nvinfer1::DataType* outputs) const override;
  void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                    nvinfer1::IExprBuilder& expressions) const override;
  void checkShapes(const nvinfer1::Dims* inputs) const override;
  size_t workspace(const nvinfer1::PluginTensorDesc* inputs) const override;
  void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
               void* const* outputs, void* workspace, cudaStream_t stream) override;
};

}  // namespace semanticvla::plugins
