#include <stdexcept>
#include <string>

#include "plugins/fields.h"
#include "plugins/kernelCalls.h"
#include "plugins/limits.h"
#include "plugins/plugins.h"
#include "plugins/tensors.h"

namespace semanticvla::plugins {

namespace {

class SwigluLevels final : public OperationOf<SwigluLevels> {
 public:
  static Signature signature() {
    return {"swigluLevels",
            {Holds::kActivations, Holds::kFloat32, Holds::kFloat32},
            {Holds::kInt8, Holds::kFloat32}};
  }

  explicit SwigluLevels(int32_t block) : block_(block) {
    for (const int32_t rotated : kRotatedBlocks)
      if (block == rotated) return;
    throw std::invalid_argument("block: expected 16, 32 or 64, found " + std::to_string(block));
  }

  std::vector<Attribute> attributes() const override {
    return {{"block", nvinfer1::PluginFieldType::kINT32, block_, 0}};
  }

  void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                    nvinfer1::IExprBuilder& expressions) const override {
    outputs[0].nbDims = outputs[1].nbDims = 2;
    outputs[0].d[0] = outputs[1].d[0] = inputs[0].d[0];
    outputs[0].d[1] = expressions.operation(nvinfer1::DimensionOperation::kFLOOR_DIV,
                                            *inputs[0].d[1], *expressions.constant(2));
    outputs[1].d[1] = expressions.constant(1);
  }

  void checkShapes(const nvinfer1::Dims* inputs) const override {
    requireRank(inputs[0], 2, "sums");
    requireRank(inputs[1], 2, "byToken");
    requireRank(inputs[2], 2, "byChannel");
    requireEqual(inputs[0].d[0], inputs[1].d[0], "rows of sums and byToken");
    requireEqual(inputs[0].d[1], inputs[2].d[1], "columns of sums and byChannel");
    requireEqual(inputs[1].d[1], 1, "columns of byToken and one");
    requireEqual(inputs[2].d[0], 1, "rows of byChannel and one");
    const int64_t columns = inputs[0].d[1];
    if (columns >= 0 && (columns == 0 || columns % (2 * block_) != 0)) {
      throw std::invalid_argument("columns of sums: expected gate and up, each a multiple of " +
                                  std::to_string(block_) + ", found " + std::to_string(columns));
    }
  }

  void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
               void* const* outputs, void*, cudaStream_t stream) override {
    kernels::callSwigluLevels(inputDesc, block_, inputs, outputs, stream);
  }

 private:
  int32_t block_;
};

std::unique_ptr<Operation> fromFields(const nvinfer1::PluginFieldCollection* fields) {
  return std::make_unique<SwigluLevels>(
      integerField(fields, SwigluLevels::signature().name, "block"));
}

}  // namespace

Kind swigluLevels() {
  return {SwigluLevels::signature().name,
          {nvinfer1::PluginField("block", nullptr, nvinfer1::PluginFieldType::kINT32, 1)},
          fromFields};
}

}  // namespace semanticvla::plugins
