#include "plugins/kernelCalls.h"
#include "plugins/plugins.h"
#include "plugins/tensors.h"

namespace semanticvla::plugins {

namespace {

class ChannelConcat final : public OperationOf<ChannelConcat> {
 public:
  static Signature signature() {
    return {"channelConcat",
            {Holds::kActivations, Holds::kSameAsFirstInput},
            {Holds::kSameAsFirstInput}};
  }

  void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                    nvinfer1::IExprBuilder& expressions) const override {
    outputs[0].nbDims = 3;
    outputs[0].d[0] = inputs[0].d[0];
    outputs[0].d[1] = inputs[0].d[1];
    outputs[0].d[2] =
        expressions.operation(nvinfer1::DimensionOperation::kSUM, *inputs[0].d[2], *inputs[1].d[2]);
  }

  void checkShapes(const nvinfer1::Dims* inputs) const override {
    requireRank(inputs[0], 3, "left");
    requireRank(inputs[1], 3, "right");
    requireEqual(inputs[0].d[0], inputs[1].d[0], "images of left and right");
    requireEqual(inputs[0].d[1], inputs[1].d[1], "tokens of left and right");
  }

  void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
               void* const* outputs, void*, cudaStream_t stream) override {
    kernels::callChannelConcat(inputDesc, inputs, outputs, stream);
  }
};

std::unique_ptr<Operation> fromFields(const nvinfer1::PluginFieldCollection*) {
  return std::make_unique<ChannelConcat>();
}

}  // namespace

Kind channelConcat() { return {ChannelConcat::signature().name, {}, fromFields}; }

}  // namespace semanticvla::plugins
