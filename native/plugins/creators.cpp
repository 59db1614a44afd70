#include "plugins/creators.h"

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

#include "plugins/failure.h"
#include "plugins/pluginShell.h"
#include "plugins/plugins.h"

namespace semanticvla::plugins {

namespace {

class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit Creator(Kind kind) : kind_(std::move(kind)) {
    collection_.nbFields = static_cast<int32_t>(kind_.fields.size());
    collection_.fields = kind_.fields.data();
  }

  nvinfer1::IPluginV3* createPlugin(const char*, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase) noexcept override {
    try {
      return new PluginShell(kind_.fromFields(fields));
    } catch (const std::exception& error) {
      recordFailure(kind_.name, "createPlugin", error.what());
      return nullptr;
    }
  }

  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return kind_.name; }
  const char* getPluginVersion() const noexcept override { return kPluginVersion; }
  const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

 private:
  Kind kind_;
  nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace

const std::vector<nvinfer1::IPluginCreatorInterface*>& creators() {
  // Registries keep pointers and a tool's may live as long as the process: nothing shorter-lived
  // than the module can own them.
  static Creator topK(instructionTopK()), pooling(textGuidedPooling()), concat(channelConcat()),
      levels(swigluLevels());
  static const std::vector<nvinfer1::IPluginCreatorInterface*> all{&topK, &pooling, &concat,
                                                                   &levels};
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
