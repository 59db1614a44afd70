#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <string>
#include <vector>

#include "plugins/operation.h"

namespace semanticvla::plugins {

/// Version of every plugin; part of the plan.
constexpr const char* kPluginVersion = "1";
/// Empty: with any other, the ONNX parser does not find the plugin for a node and says nothing.
constexpr const char* kPluginNamespace = "";

/// TensorRT's view of an Operation: every callback is a try/catch around one call of it.
class PluginShell final : public nvinfer1::IPluginV3,
                          public nvinfer1::IPluginV3OneCore,
                          public nvinfer1::IPluginV3OneBuild,
                          public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit PluginShell(std::unique_ptr<Operation> operation);

  nvinfer1::IPluginCapability* getCapabilityInterface(
      nvinfer1::PluginCapabilityType type) noexcept override;
  nvinfer1::IPluginV3* clone() noexcept override;

  const char* getPluginName() const noexcept override;
  const char* getPluginVersion() const noexcept override;
  const char* getPluginNamespace() const noexcept override;

  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, int32_t inputs,
                          const nvinfer1::DynamicPluginTensorDesc* out,
                          int32_t outputs) noexcept override;
  int32_t getOutputDataTypes(nvinfer1::DataType* outputTypes, int32_t outputs,
                             const nvinfer1::DataType* inputTypes,
                             int32_t inputs) const noexcept override;
  int32_t getOutputShapes(const nvinfer1::DimsExprs* in, int32_t inputs,
                          const nvinfer1::DimsExprs* shapeInputs, int32_t shapeInputCount,
                          nvinfer1::DimsExprs* out, int32_t outputs,
                          nvinfer1::IExprBuilder& expressions) noexcept override;
  bool supportsFormatCombination(int32_t position, const nvinfer1::DynamicPluginTensorDesc* inOut,
                                 int32_t inputs, int32_t outputs) noexcept override;
  int32_t getNbOutputs() const noexcept override;
  size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in, int32_t inputs,
                          const nvinfer1::DynamicPluginTensorDesc* out,
                          int32_t outputs) const noexcept override;

  int32_t onShapeChange(const nvinfer1::PluginTensorDesc* in, int32_t inputs,
                        const nvinfer1::PluginTensorDesc* out, int32_t outputs) noexcept override;
  int32_t enqueue(const nvinfer1::PluginTensorDesc* inputDesc,
                  const nvinfer1::PluginTensorDesc* outputDesc, const void* const* inputs,
                  void* const* outputs, void* workspace, cudaStream_t stream) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

 private:
  void checkCounts(int32_t inputs, int32_t outputs) const;

  std::unique_ptr<Operation> operation_;
  /// Kept alive for TensorRT, which reads them after getFieldsToSerialize.
  std::vector<Attribute> attributes_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace semanticvla::plugins
