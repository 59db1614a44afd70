#include "plugins/instructionTopK.h"

#include "plugins/fields.h"
#include "plugins/limits.h"
#include "plugins/tensors.h"

namespace semanticvla::plugins {

InstructionTopK::InstructionTopK(int32_t topk) : topk_(topk) { requireTopk(topk, kMostTopk); }

std::unique_ptr<Operation> InstructionTopK::fromFields(
    const nvinfer1::PluginFieldCollection* fields) {
  return std::make_unique<InstructionTopK>(integerField(fields, kName, "topk"));
}

std::unique_ptr<Operation> InstructionTopK::clone() const {
  return std::make_unique<InstructionTopK>(topk_);
}

std::vector<Attribute> InstructionTopK::attributes() const {
  return {{"topk", nvinfer1::PluginFieldType::kINT32, topk_, 0}};
}

bool InstructionTopK::supports(int32_t position, const nvinfer1::DataType* types) const {
  switch (position) {
    case 0:
      return isActivation(types[0]);
    case 1:
    case 3:
      return types[position] == types[0];
    case 2:
      return types[2] == nvinfer1::DataType::kBOOL;
    case 4:
      return types[4] == nvinfer1::DataType::kINT64;
    case 5:
      return types[5] == nvinfer1::DataType::kFLOAT;
    default:
      return false;
  }
}

void InstructionTopK::outputTypes(const nvinfer1::DataType* inputs,
                                  nvinfer1::DataType* outputs) const {
  outputs[0] = inputs[0];
  outputs[1] = nvinfer1::DataType::kINT64;
  outputs[2] = nvinfer1::DataType::kFLOAT;
}

void InstructionTopK::outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                                   nvinfer1::IExprBuilder& expressions) const {
  const nvinfer1::DimsExprs& patches = inputs[0];
  const nvinfer1::IDimensionExpr* topk = expressions.constant(topk_);
  outputs[0].nbDims = 3;
  outputs[0].d[0] = patches.d[0];
  outputs[0].d[1] = topk;
  outputs[0].d[2] = patches.d[2];
  outputs[1].nbDims = 2;
  outputs[1].d[0] = patches.d[0];
  outputs[1].d[1] = topk;
  outputs[2].nbDims = 3;
  outputs[2].d[0] = patches.d[0];
  outputs[2].d[1] = patches.d[1];
  outputs[2].d[2] = inputs[1].d[0];
}

void InstructionTopK::checkShapes(const nvinfer1::Dims* inputs) const {
  requireRank(inputs[0], 3, "patches");
  requireRank(inputs[1], 2, "text");
  requireRank(inputs[2], 1, "mask");
  requireRange(inputs[0].d[0], 1, kMostImages, "images");
  requireRange(inputs[0].d[1], topk_, kMostPatches, "patches an image");
  requireEqual(inputs[0].d[2], inputs[1].d[1], "width of patches and text");
  requireEqual(inputs[1].d[0], inputs[2].d[0], "text rows and mask");
  requireRange(inputs[1].d[0], 1, kMostTextTokens, "text rows");
}

size_t InstructionTopK::workspace(const nvinfer1::PluginTensorDesc* inputs) const {
  return kernels::instructionTopKWorkspace(inputs[0].dims, inputs[1].dims);
}

void InstructionTopK::attach() { tickets_ = kernels::makeTickets(kMostImages); }

void InstructionTopK::enqueue(const nvinfer1::PluginTensorDesc* inputDesc,
                              const void* const* inputs, void* const* outputs, void* workspace,
                              cudaStream_t stream) {
  // A builder that tries the plugin out may run a copy that belongs to no context.
  if (!tickets_) attach();
  kernels::callInstructionTopK(inputDesc, topk_, inputs, outputs, workspace, tickets_.get(),
                               stream);
}

}  // namespace semanticvla::plugins
