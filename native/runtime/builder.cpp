#include "runtime/builder.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "plugins/creators.h"
#include "plugins/failure.h"
#include "runtime/buildLog.h"
#include "runtime/buildProgress.h"
#include "runtime/timingCache.h"
#include "runtime/typeNames.h"

namespace semanticvla::runtime {

namespace {

/// Types as the model states them. TensorRT 11 and TensorRT-RTX know nothing else and have retired
/// the flag.
#if defined(TRT_MAJOR_RTX) || NV_TENSORRT_MAJOR >= 11
constexpr uint32_t kNetworkFlags = 0;
#else
constexpr uint32_t kNetworkFlags =
    1U << static_cast<uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#endif

/// Parser and builder errors as one exception.
[[noreturn]] void fail(const std::string& what, const BuildLog& log) {
  std::string message = what;
  const std::string plugin = plugins::takeFailure();
  if (!plugin.empty()) message += "\n" + plugin;
  const std::string errors = log.errors();
  if (!errors.empty()) message += "\n" + errors;
  throw std::runtime_error(message);
}

template <typename T>
std::unique_ptr<T> require(T* object, const char* what, const BuildLog& log) {
  if (object == nullptr) fail(std::string("TensorRT did not create ") + what, log);
  return std::unique_ptr<T>(object);
}

nvinfer1::Dims toDims(const std::vector<int64_t>& sizes, const std::string& input) {
  if (sizes.size() > nvinfer1::Dims::MAX_DIMS) {
    throw std::invalid_argument("profile of " + input + ": expected at most 8 dimensions");
  }
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<int32_t>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) dims.d[i] = sizes[i];
  return dims;
}

void addProfiles(nvinfer1::IBuilder& builder, nvinfer1::IBuilderConfig& config,
                 const BuildRequest& request, const BuildLog& log) {
  for (const Profile& ranges : request.profiles) {
    // owned by the builder
    nvinfer1::IOptimizationProfile* profile = builder.createOptimizationProfile();
    if (profile == nullptr) fail("TensorRT did not create a profile", log);
    for (const InputRange& range : ranges) {
      const char* name = range.name.c_str();
      const bool isTaken = profile->setDimensions(name, nvinfer1::OptProfileSelector::kMIN,
                                                  toDims(range.min, range.name)) &&
                           profile->setDimensions(name, nvinfer1::OptProfileSelector::kOPT,
                                                  toDims(range.opt, range.name)) &&
                           profile->setDimensions(name, nvinfer1::OptProfileSelector::kMAX,
                                                  toDims(range.max, range.name));
      if (!isTaken) fail("TensorRT refused the sizes of input " + range.name, log);
    }
    if (!profile->isValid() || config.addOptimizationProfile(profile) < 0) {
      fail("TensorRT refused the profile", log);
    }
  }
}

void setTargets(nvinfer1::IBuilderConfig& config, const std::vector<int>& targets,
                const BuildLog& log) {
  if (targets.empty()) return;
#ifdef TRT_MAJOR_RTX
  if (!config.setNbComputeCapabilities(static_cast<int32_t>(targets.size())))
    fail("TensorRT refused the targets", log);
  for (size_t i = 0; i < targets.size(); ++i) {
    const auto target = static_cast<nvinfer1::ComputeCapability>(targets[i]);
    if (!config.setComputeCapability(target, static_cast<int32_t>(i))) {
      fail("TensorRT refused target sm_" + std::to_string(targets[i]), log);
    }
  }
#else
  (void)config;
  fail("targets other than the device at hand are built by TensorRT-RTX only", log);
#endif
}

void setOptions(nvinfer1::IBuilderConfig& config, const BuildRequest& request,
                const BuildLog& log) {
  // names of layers and ONNX nodes in the layer list, which the audit reads
  config.setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
  // float32 means float32: TF32 would round its products to 10 bits
  config.clearFlag(nvinfer1::BuilderFlag::kTF32);
#ifdef TRT_MAJOR_RTX
  // all memory comes from the session and none is allocated while it runs, or the run could not be
  // captured as a CUDA graph
  config.setFlag(nvinfer1::BuilderFlag::kREQUIRE_USER_ALLOCATION);
#endif
  if (request.optimizationLevel >= 0) config.setBuilderOptimizationLevel(request.optimizationLevel);
  if (request.workspaceBytes > 0) {
    config.setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, request.workspaceBytes);
  }
  setTargets(config, request.targets, log);
}

void parse(nvonnxparser::IParser& parser, const BuildRequest& request, const BuildLog& log) {
  const char* path = request.modelPath.empty() ? nullptr : request.modelPath.c_str();
  if (parser.parse(request.model.data(), request.model.size(), path)) return;
  std::string what = "TensorRT's parser refused the model";
  for (int i = 0; i < parser.getNbErrors(); ++i) {
    const nvonnxparser::IParserError& error = *parser.getError(i);
    what += std::string("\nnode ") + error.nodeName() + " (" + error.nodeOperator() +
            "): " + error.desc();
  }
  fail(what, log);
}

/// Which layers became plugins. TensorRT accepts a missing plugin when the model holds another way
/// to compute the node; here it is an error.
std::map<std::string, int> countPlugins(const nvinfer1::INetworkDefinition& network) {
  std::map<std::string, int> counts;
  for (int32_t i = 0; i < network.getNbLayers(); ++i) {
    nvinfer1::ILayer* layer = network.getLayer(i);
    if (layer->getType() != nvinfer1::LayerType::kPLUGIN_V3) continue;
    nvinfer1::IPluginV3& plugin = static_cast<nvinfer1::IPluginV3Layer*>(layer)->getPlugin();
    auto* core = static_cast<nvinfer1::IPluginV3OneCore*>(
        plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kCORE));
    if (core != nullptr) ++counts[core->getPluginName()];
  }
  return counts;
}

std::string describe(const std::map<std::string, int>& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + name;
  return text.empty() ? "none" : text;
}

std::vector<TensorInfo> describeTensors(const nvinfer1::INetworkDefinition& network) {
  std::vector<TensorInfo> tensors;
  const auto add = [&](const nvinfer1::ITensor& tensor, bool isInput) {
    TensorInfo info{tensor.getName(), typeName(tensor.getType()), {}, isInput};
    const nvinfer1::Dims dims = tensor.getDimensions();
    info.dims.assign(dims.d, dims.d + dims.nbDims);
    tensors.push_back(std::move(info));
  };
  for (int32_t i = 0; i < network.getNbInputs(); ++i) add(*network.getInput(i), true);
  for (int32_t i = 0; i < network.getNbOutputs(); ++i) add(*network.getOutput(i), false);
  return tensors;
}

/// Not copied: with baked weights it is as large as they are.
Blob toBlob(std::unique_ptr<nvinfer1::IHostMemory> memory) {
  const std::shared_ptr<const nvinfer1::IHostMemory> owner(std::move(memory));
  return {owner, static_cast<const uint8_t*>(owner->data()), owner->size()};
}

std::unique_ptr<nvinfer1::IBuilder> createBuilder(const EntryPoints& entryPoints, BuildLog& log) {
  return require(
      static_cast<nvinfer1::IBuilder*>(entryPoints.createBuilder(&log, NV_TENSORRT_VERSION)),
      "a builder", log);
}

/// The same list from the plan itself, for versions that do not log it. Needs the device; empty
/// when the plan cannot be opened here.
std::vector<std::string> inspectLayers(const EntryPoints& entryPoints, nvinfer1::ILogger& log,
                                       const nvinfer1::IHostMemory& plan) {
  const std::unique_ptr<nvinfer1::IRuntime> runtime(
      static_cast<nvinfer1::IRuntime*>(entryPoints.createRuntime(&log, NV_TENSORRT_VERSION)));
  if (runtime == nullptr) return {};
  plugins::registerPlugins(runtime->getPluginRegistry());
  const std::unique_ptr<nvinfer1::ICudaEngine> engine(
      runtime->deserializeCudaEngine(plan.data(), plan.size()));
  if (engine == nullptr) return {};
  const std::unique_ptr<nvinfer1::IEngineInspector> inspector(engine->createEngineInspector());
  if (inspector == nullptr) return {};
  const char* text = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kONELINE);
  return text == nullptr ? std::vector<std::string>{} : std::vector<std::string>{text};
}

}  // namespace

BuildResult buildEngine(const EntryPoints& entryPoints, const BuildRequest& request) {
  BuildLog log(request.log);
  BuildProgressMonitor monitor(request.progress);
  // Destroyed in the opposite order: everything below the builder belongs to it.
#ifndef TRT_MAJOR_RTX
  TimingCache timings;
#endif
  const auto builder = createBuilder(entryPoints, log);
  plugins::registerPlugins(builder->getPluginRegistry());
  const auto network = require(builder->createNetworkV2(kNetworkFlags), "a network", log);
  const auto config = require(builder->createBuilderConfig(), "a builder config", log);
  const auto parser = require(static_cast<nvonnxparser::IParser*>(entryPoints.createParser(
                                  network.get(), &log, NV_ONNX_PARSER_VERSION)),
                              "a parser", log);
  parse(*parser, request, log);

  BuildResult result;
  result.networkLayers = network->getNbLayers();
  result.plugins = countPlugins(*network);
  if (result.plugins != request.plugins) {
    fail("plugins in the parsed network: expected " + describe(request.plugins) + ", found " +
             describe(result.plugins),
         log);
  }
  result.tensors = describeTensors(*network);

  setOptions(*config, request, log);
  config->setProgressMonitor(&monitor);
  addProfiles(*builder, *config, request, log);
#ifndef TRT_MAJOR_RTX
  timings.attach(*config, request.timingCache, log);
  result.timingCacheRefused = timings.refused();
#endif
  std::unique_ptr<nvinfer1::IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
  if (monitor.isCancelled()) {
    result.isCancelled = true;
    return result;
  }
  if (plan == nullptr) fail("TensorRT could not build the engine", log);
  result.layers = log.takeLayers();
  if (result.layers.empty()) result.layers = inspectLayers(entryPoints, log, *plan);
#ifndef TRT_MAJOR_RTX
  result.timingCache = timings.bytes();
#endif
  result.plan = toBlob(std::move(plan));
  return result;
}

#ifndef TRT_MAJOR_RTX
std::vector<uint8_t> combineTimingCaches(const EntryPoints& entryPoints,
                                         const std::vector<uint8_t>& first,
                                         const std::vector<uint8_t>& second) {
  const Log silent;
  BuildLog log(silent);
  const auto builder = createBuilder(entryPoints, log);
  const auto config = require(builder->createBuilderConfig(), "a builder config", log);
  return TimingCache::combine(*config, first, second, log);
}
#endif

}  // namespace semanticvla::runtime
