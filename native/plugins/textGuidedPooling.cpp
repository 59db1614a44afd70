#include "plugins/textGuidedPooling.h"

#include <cmath>
#include <stdexcept>

#include "plugins/fields.h"
#include "plugins/kernelCalls.h"
#include "plugins/limits.h"
#include "plugins/tensors.h"

namespace semanticvla::plugins {

TextGuidedPooling::TextGuidedPooling(int32_t topk, float temperature)
    : topk_(topk), temperature_(temperature) {
  requireTopk(topk, kMostTextTokens);
  if (!(std::isfinite(temperature) && temperature > 0)) {
    throw std::invalid_argument("temperature: expected a positive number, found " +
                                std::to_string(temperature));
  }
}

std::unique_ptr<Operation> TextGuidedPooling::fromFields(
    const nvinfer1::PluginFieldCollection* fields) {
  const int32_t topk = integerField(fields, kName, "topk");
  return std::make_unique<TextGuidedPooling>(topk, floatField(fields, kName, "temperature"));
}

std::unique_ptr<Operation> TextGuidedPooling::clone() const {
  return std::make_unique<TextGuidedPooling>(topk_, temperature_);
}

std::vector<Attribute> TextGuidedPooling::attributes() const {
  return {{"topk", nvinfer1::PluginFieldType::kINT32, topk_, 0},
          {"temperature", nvinfer1::PluginFieldType::kFLOAT32, 0, temperature_}};
}

bool TextGuidedPooling::supports(int32_t position, const nvinfer1::DataType* types) const {
  switch (position) {
    case 0:
      return isActivation(types[0]);
    case 1:
      return types[1] == nvinfer1::DataType::kFLOAT;
    case 2:
      return types[2] == types[0];
    case 3:
      return types[3] == nvinfer1::DataType::kINT64;
    default:
      return false;
  }
}

void TextGuidedPooling::outputTypes(const nvinfer1::DataType* inputs,
                                    nvinfer1::DataType* outputs) const {
  outputs[0] = inputs[0];
  outputs[1] = nvinfer1::DataType::kINT64;
}

void TextGuidedPooling::outputShapes(const nvinfer1::DimsExprs* inputs,
                                     nvinfer1::DimsExprs* outputs,
                                     nvinfer1::IExprBuilder& expressions) const {
  const nvinfer1::IDimensionExpr* topk = expressions.constant(topk_);
  outputs[0].nbDims = 3;
  outputs[0].d[0] = inputs[0].d[0];
  outputs[0].d[1] = topk;
  outputs[0].d[2] = inputs[0].d[2];
  outputs[1].nbDims = 2;
  outputs[1].d[0] = inputs[0].d[0];
  outputs[1].d[1] = topk;
}

void TextGuidedPooling::checkShapes(const nvinfer1::Dims* inputs) const {
  requireRank(inputs[0], 3, "patches");
  requireRank(inputs[1], 3, "similarity");
  requireEqual(inputs[0].d[0], inputs[1].d[0], "images of patches and similarity");
  requireEqual(inputs[0].d[1], inputs[1].d[1], "patches of patches and similarity");
  requireRange(inputs[0].d[1], 1, kMostPatches, "patches an image");
  requireRange(inputs[1].d[2], topk_, kMostTextTokens,
               "text columns of the similarity, of which topk are kept");
}

size_t TextGuidedPooling::workspace(const nvinfer1::PluginTensorDesc* inputs) const {
  return kernels::textGuidedPoolingWorkspace(inputs[0].dims, inputs[1].dims, topk_);
}

void TextGuidedPooling::enqueue(const nvinfer1::PluginTensorDesc* inputDesc,
                                const void* const* inputs, void* const* outputs, void* workspace,
                                cudaStream_t stream) {
  kernels::callTextGuidedPooling(inputDesc, topk_, temperature_, inputs, outputs, workspace,
                                 stream);
}

}  // namespace semanticvla::plugins
