#include <cmath>
#include <stdexcept>

#include "plugins/fields.h"
#include "plugins/kernelCalls.h"
#include "plugins/limits.h"
#include "plugins/plugins.h"
#include "plugins/tensors.h"

namespace semanticvla::plugins {

namespace {

class TextGuidedPooling final : public OperationOf<TextGuidedPooling> {
 public:
  static Signature signature() {
    return {"textGuidedPooling",
            {Holds::kActivations, Holds::kFloat32},
            {Holds::kSameAsFirstInput, Holds::kInt64}};
  }

  TextGuidedPooling(int32_t topk, float temperature) : topk_(topk), temperature_(temperature) {
    requireTopk(topk, kMostTextTokens);
    if (!(std::isfinite(temperature) && temperature > 0)) {
      throw std::invalid_argument("temperature: expected a positive number, found " +
                                  std::to_string(temperature));
    }
  }

  std::vector<Attribute> attributes() const override {
    return {{"topk", nvinfer1::PluginFieldType::kINT32, topk_, 0},
            {"temperature", nvinfer1::PluginFieldType::kFLOAT32, 0, temperature_}};
  }

  void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                    nvinfer1::IExprBuilder& expressions) const override {
    const nvinfer1::IDimensionExpr* topk = expressions.constant(topk_);
    outputs[0].nbDims = 3;
    outputs[0].d[0] = inputs[0].d[0];
    outputs[0].d[1] = topk;
    outputs[0].d[2] = inputs[0].d[2];
    outputs[1].nbDims = 2;
    outputs[1].d[0] = inputs[0].d[0];
    outputs[1].d[1] = topk;
  }

  void checkShapes(const nvinfer1::Dims* inputs) const override {
    requireRank(inputs[0], 3, "patches");
    requireRank(inputs[1], 3, "similarity");
    requireEqual(inputs[0].d[0], inputs[1].d[0], "images of patches and similarity");
    requireEqual(inputs[0].d[1], inputs[1].d[1], "patches of patches and similarity");
    requireRange(inputs[0].d[1], 1, kMostPatches, "patches an image");
    requireRange(inputs[1].d[2], topk_, kMostTextTokens,
                 "text columns of the similarity, of which topk are kept");
  }

  size_t workspace(const nvinfer1::PluginTensorDesc* inputs) const override {
    return kernels::textGuidedPoolingWorkspace(inputs[0].dims, inputs[1].dims, topk_);
  }

  void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
               void* const* outputs, void* workspace, cudaStream_t stream) override {
    kernels::callTextGuidedPooling(inputDesc, topk_, temperature_, inputs, outputs, workspace,
                                   stream);
  }

 private:
  int32_t topk_;
  float temperature_;
};

std::unique_ptr<Operation> fromFields(const nvinfer1::PluginFieldCollection* fields) {
  const char* name = TextGuidedPooling::signature().name;
  const int32_t topk = integerField(fields, name, "topk");
  return std::make_unique<TextGuidedPooling>(topk, floatField(fields, name, "temperature"));
}

}  // namespace

Kind textGuidedPooling() {
  return {TextGuidedPooling::signature().name,
          {nvinfer1::PluginField("topk", nullptr, nvinfer1::PluginFieldType::kINT32, 1),
           nvinfer1::PluginField("temperature", nullptr, nvinfer1::PluginFieldType::kFLOAT32, 1)},
          fromFields};
}

}  // namespace semanticvla::plugins
