#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace semanticvla::plugins {

/// A plugin's number that TensorRT keeps in the plan: an ONNX attribute at build time, read back at
/// load time.
struct Attribute {
  const char* name;
  nvinfer1::PluginFieldType type;
  /// kINT32
  int32_t integer;
  /// kFLOAT32
  float number;
};

/// What distinguishes one plugin from another: types, shapes and the call of its kernel. No
/// arithmetic. Functions throw; the shell (pluginShell.h) keeps exceptions from TensorRT.
class Operation {
 public:
  virtual ~Operation() = default;

  /// The ONNX local function of the same name (lib/graph/functions.ts).
  virtual const char* name() const = 0;
  virtual std::unique_ptr<Operation> clone() const = 0;
  virtual std::vector<Attribute> attributes() const = 0;

  virtual int32_t inputCount() const = 0;
  virtual int32_t outputCount() const = 0;
  /// `types` has inputCount entries first, outputCount after them.
  virtual bool supports(int32_t position, const nvinfer1::DataType* types) const = 0;
  virtual void outputTypes(const nvinfer1::DataType* inputs, nvinfer1::DataType* outputs) const = 0;
  virtual void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                            nvinfer1::IExprBuilder& expressions) const = 0;
  /// Concrete shapes, before they are used. A dimension below 0 is not known yet.
  virtual void checkShapes(const nvinfer1::Dims* inputs) const = 0;
  /// Bytes; shapes are the largest of the profile.
  virtual size_t workspace(const nvinfer1::PluginTensorDesc* inputs) const = 0;
  /// Called once on the copy that belongs to an execution context, which runs one `enqueue` at a
  /// time: the place for device memory that outlives a run. A workspace is shared and not zeroed.
  virtual void attach() {}
  virtual void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
                       void* const* outputs, void* workspace, cudaStream_t stream) = 0;
};

}  // namespace semanticvla::plugins
