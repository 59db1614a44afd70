#include "plugins/channelConcat.h"

#include "plugins/kernelCalls.h"
#include "plugins/tensors.h"

namespace semanticvla::plugins {

std::unique_ptr<Operation> ChannelConcat::fromFields(const nvinfer1::PluginFieldCollection*) {
  return std::make_unique<ChannelConcat>();
}

std::unique_ptr<Operation> ChannelConcat::clone() const {
  return std::make_unique<ChannelConcat>();
}

std::vector<Attribute> ChannelConcat::attributes() const { return {}; }

bool ChannelConcat::supports(int32_t position, const nvinfer1::DataType* types) const {
  return position == 0 ? isActivation(types[0]) : types[position] == types[0];
}

void ChannelConcat::outputTypes(const nvinfer1::DataType* inputs,
                                nvinfer1::DataType* outputs) const {
  outputs[0] = inputs[0];
}

void ChannelConcat::outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                                 nvinfer1::IExprBuilder& expressions) const {
  outputs[0].nbDims = 3;
  outputs[0].d[0] = inputs[0].d[0];
  outputs[0].d[1] = inputs[0].d[1];
  outputs[0].d[2] =
      expressions.operation(nvinfer1::DimensionOperation::kSUM, *inputs[0].d[2], *inputs[1].d[2]);
}

void ChannelConcat::checkShapes(const nvinfer1::Dims* inputs) const {
  requireRank(inputs[0], 3, "left");
  requireRank(inputs[1], 3, "right");
  requireEqual(inputs[0].d[0], inputs[1].d[0], "images of left and right");
  requireEqual(inputs[0].d[1], inputs[1].d[1], "tokens of left and right");
}

size_t ChannelConcat::workspace(const nvinfer1::PluginTensorDesc*) const { return 0; }

void ChannelConcat::enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
                            void* const* outputs, void*, cudaStream_t stream) {
  kernels::callChannelConcat(inputDesc, inputs, outputs, stream);
}

}  // namespace semanticvla::plugins
