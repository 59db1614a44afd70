#include "plugins/pluginShell.h"

#include <exception>
#include <stdexcept>
#include <utility>

#include "plugins/failure.h"

namespace semanticvla::plugins {

namespace {

constexpr int32_t kOk = 0;
constexpr int32_t kFailed = 1;

/// Runs `body`, which may throw, and gives `failed` when it does.
template <typename Result, typename Body>
Result guarded(const char* plugin, const char* callback, Result failed, Body body) noexcept {
  try {
    return body();
  } catch (const std::exception& error) {
    recordFailure(plugin, callback, error.what());
  } catch (...) {
    recordFailure(plugin, callback, "unknown error");
  }
  return failed;
}

}  // namespace

PluginShell::PluginShell(std::unique_ptr<Operation> operation) : operation_(std::move(operation)) {}

nvinfer1::IPluginCapability* PluginShell::getCapabilityInterface(
    nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

nvinfer1::IPluginV3* PluginShell::clone() noexcept {
  return guarded<nvinfer1::IPluginV3*>(operation_->name(), "clone", nullptr,
                                       [&] { return new PluginShell(operation_->clone()); });
}

const char* PluginShell::getPluginName() const noexcept { return operation_->name(); }
const char* PluginShell::getPluginVersion() const noexcept { return kPluginVersion; }
const char* PluginShell::getPluginNamespace() const noexcept { return kPluginNamespace; }

void PluginShell::checkCounts(int32_t inputs, int32_t outputs) const {
  if (inputs == operation_->inputCount() && outputs == operation_->outputCount()) return;
  throw std::invalid_argument("expected " + std::to_string(operation_->inputCount()) +
                              " inputs and " + std::to_string(operation_->outputCount()) +
                              " outputs, found " + std::to_string(inputs) + " and " +
                              std::to_string(outputs));
}

int32_t PluginShell::configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, int32_t inputs,
                                     const nvinfer1::DynamicPluginTensorDesc*,
                                     int32_t outputs) noexcept {
  return guarded(operation_->name(), "configurePlugin", kFailed, [&] {
    checkCounts(inputs, outputs);
    std::vector<nvinfer1::Dims> shapes;
    for (int32_t i = 0; i < inputs; ++i) shapes.push_back(in[i].desc.dims);
    operation_->checkShapes(shapes.data());
    return kOk;
  });
}

int32_t PluginShell::getOutputDataTypes(nvinfer1::DataType* outputTypes, int32_t outputs,
                                        const nvinfer1::DataType* inputTypes,
                                        int32_t inputs) const noexcept {
  return guarded(operation_->name(), "getOutputDataTypes", kFailed, [&] {
    checkCounts(inputs, outputs);
    operation_->outputTypes(inputTypes, outputTypes);
    return kOk;
  });
}

int32_t PluginShell::getOutputShapes(const nvinfer1::DimsExprs* in, int32_t inputs,
                                     const nvinfer1::DimsExprs*, int32_t, nvinfer1::DimsExprs* out,
                                     int32_t outputs,
                                     nvinfer1::IExprBuilder& expressions) noexcept {
  return guarded(operation_->name(), "getOutputShapes", kFailed, [&] {
    checkCounts(inputs, outputs);
    operation_->outputShapes(in, out, expressions);
    return kOk;
  });
}

bool PluginShell::supportsFormatCombination(int32_t position,
                                            const nvinfer1::DynamicPluginTensorDesc* inOut,
                                            int32_t inputs, int32_t outputs) noexcept {
  return guarded(operation_->name(), "supportsFormatCombination", false, [&] {
    checkCounts(inputs, outputs);
    // Rows of a matrix, one after the other; every other layout would cost a reformat somewhere.
    if (inOut[position].desc.format != nvinfer1::TensorFormat::kLINEAR) return false;
    std::vector<nvinfer1::DataType> types;
    // TensorRT asks position by position: only those up to `position` are set.
    for (int32_t i = 0; i <= position; ++i) types.push_back(inOut[i].desc.type);
    return operation_->supports(position, types.data());
  });
}

int32_t PluginShell::getNbOutputs() const noexcept { return operation_->outputCount(); }

size_t PluginShell::getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in, int32_t inputs,
                                     const nvinfer1::DynamicPluginTensorDesc*,
                                     int32_t outputs) const noexcept {
  return guarded<size_t>(operation_->name(), "getWorkspaceSize", 0, [&] {
    checkCounts(inputs, outputs);
    std::vector<nvinfer1::PluginTensorDesc> descriptions;
    for (int32_t i = 0; i < inputs; ++i) {
      nvinfer1::PluginTensorDesc description = in[i].desc;
      description.dims = in[i].max;
      descriptions.push_back(description);
    }
    return operation_->workspace(descriptions.data());
  });
}

int32_t PluginShell::onShapeChange(const nvinfer1::PluginTensorDesc* in, int32_t inputs,
                                   const nvinfer1::PluginTensorDesc*, int32_t outputs) noexcept {
  return guarded(operation_->name(), "onShapeChange", kFailed, [&] {
    checkCounts(inputs, outputs);
    std::vector<nvinfer1::Dims> shapes;
    for (int32_t i = 0; i < inputs; ++i) shapes.push_back(in[i].dims);
    operation_->checkShapes(shapes.data());
    return kOk;
  });
}

int32_t PluginShell::enqueue(const nvinfer1::PluginTensorDesc* inputDesc,
                             const nvinfer1::PluginTensorDesc*, const void* const* inputs,
                             void* const* outputs, void* workspace, cudaStream_t stream) noexcept {
  return guarded(operation_->name(), "enqueue", kFailed, [&] {
    operation_->enqueue(inputDesc, inputs, outputs, workspace, stream);
    return kOk;
  });
}

nvinfer1::IPluginV3* PluginShell::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
  return guarded<nvinfer1::IPluginV3*>(operation_->name(), "attachToContext", nullptr, [&] {
    auto own = std::make_unique<PluginShell>(operation_->clone());
    own->operation_->attach();
    return own.release();
  });
}

const nvinfer1::PluginFieldCollection* PluginShell::getFieldsToSerialize() noexcept {
  return guarded<const nvinfer1::PluginFieldCollection*>(
      operation_->name(), "getFieldsToSerialize", nullptr, [&] {
        attributes_ = operation_->attributes();
        fields_.clear();
        for (const Attribute& attribute : attributes_) {
          const bool isInteger = attribute.type == nvinfer1::PluginFieldType::kINT32;
          const void* data =
              isInteger ? static_cast<const void*>(&attribute.integer) : &attribute.number;
          fields_.emplace_back(attribute.name, data, attribute.type, 1);
        }
        collection_.nbFields = static_cast<int32_t>(fields_.size());
        collection_.fields = fields_.data();
        return &collection_;
      });
}

}  // namespace semanticvla::plugins
