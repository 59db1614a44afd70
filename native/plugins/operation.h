#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
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

/// What a tensor holds.
enum class Holds { kActivations, kSameAsFirstInput, kBool, kInt8, kInt64, kFloat32 };

/// A plugin from outside: its name and its tensors.
struct Signature {
  /// The ONNX local function of the same name (lib/graph/functions.ts).
  const char* name;
  std::vector<Holds> inputs;
  std::vector<Holds> outputs;
};

/// What distinguishes one plugin from another: types, shapes and the call of its kernel. No
/// arithmetic. Functions throw; the shell (pluginShell.h) keeps exceptions from TensorRT.
class Operation {
 public:
  virtual ~Operation() = default;

  const char* name() const { return signature_.name; }
  int32_t inputCount() const { return static_cast<int32_t>(signature_.inputs.size()); }
  int32_t outputCount() const { return static_cast<int32_t>(signature_.outputs.size()); }
  /// `types` has inputCount entries first, outputCount after them; those up to `position` are set.
  bool supports(int32_t position, const nvinfer1::DataType* types) const;
  void outputTypes(const nvinfer1::DataType* inputs, nvinfer1::DataType* outputs) const;

  virtual std::unique_ptr<Operation> clone() const = 0;
  virtual std::vector<Attribute> attributes() const { return {}; }
  virtual void outputShapes(const nvinfer1::DimsExprs* inputs, nvinfer1::DimsExprs* outputs,
                            nvinfer1::IExprBuilder& expressions) const = 0;
  /// Concrete shapes, before they are used. A dimension below 0 is not known yet.
  virtual void checkShapes(const nvinfer1::Dims* inputs) const = 0;
  /// Bytes; shapes are the largest of the profile.
  virtual size_t workspace(const nvinfer1::PluginTensorDesc*) const { return 0; }
  /// Called once on the copy that belongs to an execution context, which runs one `enqueue` at a
  /// time: the place for device memory that outlives a run. A workspace is shared and not zeroed.
  virtual void attach() {}
  virtual void enqueue(const nvinfer1::PluginTensorDesc* inputDesc, const void* const* inputs,
                       void* const* outputs, void* workspace, cudaStream_t stream) = 0;

 protected:
  explicit Operation(Signature signature) : signature_(std::move(signature)) {}
  Operation(const Operation&) = default;

 private:
  Signature signature_;
};

/// The base of a plugin: it has a static `signature()`, and is cloned by copying.
template <typename Plugin>
class OperationOf : public Operation {
 public:
  std::unique_ptr<Operation> clone() const override {
    return std::make_unique<Plugin>(static_cast<const Plugin&>(*this));
  }

 protected:
  OperationOf() : Operation(Plugin::signature()) {}
};

}  // namespace semanticvla::plugins
