#include "plugins/creators.h"

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

#include "plugins/channelConcat.h"
#include "plugins/failure.h"
#include "plugins/instructionTopK.h"
#include "plugins/pluginShell.h"
#include "plugins/textGuidedPooling.h"

namespace semanticvla::plugins {

namespace {

using FromFields = std::unique_ptr<Operation> (*)(const nvinfer1::PluginFieldCollection*);

class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  Creator(const char* name, FromFields fromFields, std::vector<nvinfer1::PluginField> fields)
      : name_(name), fromFields_(fromFields), fields_(std::move(fields)) {
    collection_.nbFields = static_cast<int32_t>(fields_.size());
    collection_.fields = fields_.data();
  }

  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    try {
      return new PluginShell(fromFields_(fields));
    } catch (const std::exception& error) {
      recordFailure(name_, "createPlugin", error.what());
      return nullptr;
    }
  }

  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return name_; }
  const char* getPluginVersion() const noexcept override { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

 private:
  const char* name_;
  FromFields fromFields_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

constexpr auto kInt32 = nvinfer1::PluginFieldType::kINT32;
constexpr auto kFloat32 = nvinfer1::PluginFieldType::kFLOAT32;

}  // namespace

const std::vector<nvinfer1::IPluginCreatorInterface*>& creators() {
  // Registries keep pointers and a tool's may live as long as the process: nothing shorter-lived
  // than the module can own them.
  static Creator instructionTopK(InstructionTopK::kName, InstructionTopK::fromFields,
                                 {nvinfer1::PluginField("topk", nullptr, kInt32, 1)});
  static Creator textGuidedPooling(TextGuidedPooling::kName, TextGuidedPooling::fromFields,
                                   {nvinfer1::PluginField("topk", nullptr, kInt32, 1),
                                    nvinfer1::PluginField("temperature", nullptr, kFloat32, 1)});
  static Creator channelConcat(ChannelConcat::kName, ChannelConcat::fromFields, {});
  static const std::vector<nvinfer1::IPluginCreatorInterface*> all{
      &instructionTopK, &textGuidedPooling, &channelConcat};
  return all;
}

void registerPlugins(nvinfer1::IPluginRegistry& registry) {
  for (nvinfer1::IPluginCreatorInterface* creator : creators()) {
    const char* name = static_cast<nvinfer1::IPluginCreatorV3One*>(creator)->getPluginName();
    if (registry.registerCreator(*creator, kPluginNamespace)) continue;
    // a registry that several builders or runtimes share has it already
    if (registry.getCreator(name, kPluginVersion, kPluginNamespace) != creator) {
      throw std::runtime_error(std::string("TensorRT's registry refused plugin ") + name);
    }
  }
}

}  // namespace semanticvla::plugins
