#include "plugins/fields.h"
#include "plugins/kernelCalls.h"
#include "plugins/limits.h"
#include "plugins/plugins.h"
#include "plugins/tensors.h"

namespace semanticvla::plugins {

namespace {

class InstructionTopK final : public OperationOf<InstructionTopK> {
 public:
  static Signature signature() {
    return {"instructionTopK",
            {Holds::kActivations, Holds::kSameAsFirstInput, Holds::kBool},
            {Holds::kSameAsFirstInput, Holds::kInt64, Holds::kFloat32}};
  }

  explicit InstructionTopK(int32_t topk) : topk_(topk) { requireTopk(topk, kMostTopk); }
  InstructionTopK(const InstructionTopK& other) : OperationOf(other), topk_(other.topk_) {}

  std::vector<Attribute> attributes() const override {
    return {{"topk", nvinfer1::PluginFieldType::kINT32, topk_, 0}};
  }

  void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                    nvinfer1::IExprBuilder& expressions) const override {
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

  void checkShapes(const nvinfer1::Dims* inputs) const override {
    requireRank(inputs[0], 3, "patches");
    requireRank(inputs[1], 2, "text");
    requireRank(inputs[2], 1, "mask");
    requireRange(inputs[0].d[0], 1, kMostImages, "images");
    requireRange(inputs[0].d[1], topk_, kMostPatches, "patches an image");
    requireEqual(inputs[0].d[2], inputs[1].d[1], "width of patches and text");
    requireEqual(inputs[1].d[0], inputs[2].d[0], "text rows and mask");
    requireRange(inputs[1].d[0], 1, kMostTextTokens, "text rows");
  }

  size_t workspace(const nvinfer1::PluginTensorDesc* inputs) const override {
    return kernels::instructionTopKWorkspace(inputs[0].dims, inputs[1].dims);
  }

  void attach() override { tickets_ = kernels::makeTickets(kMostImages); }

  void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
               void* const* outputs, void* workspace, cudaStream_t stream) override {
    // A builder that tries the plugin out may run a copy that belongs to no context.
    if (!tickets_) attach();
    kernels::callInstructionTopK(inputDesc, topk_, inputs, outputs, workspace, tickets_.get(),
                                 stream);
  }

 private:
  int32_t topk_;
  /// Of this copy alone; none before `attach` or the first run.
  kernels::Tickets tickets_ = kernels::noTickets();
};

std::unique_ptr<Operation> fromFields(const nvinfer1::PluginFieldCollection* fields) {
  const char* name = InstructionTopK::signature().name;
  return std::make_unique<InstructionTopK>(integerField(fields, name, "topk"));
}

}  // namespace

Kind instructionTopK() {
  return {InstructionTopK::signature().name,
          {nvinfer1::PluginField("topk", nullptr, nvinfer1::PluginFieldType::kINT32, 1)},
          fromFields};
}

}  // namespace semanticvla::plugins
