#include "runtime/tensorRtEngine.h"

#include <NvInferRuntime.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "plugins/creators.h"
#include "plugins/failure.h"
#include "runtime/typeNames.h"

namespace semanticvla::runtime {

namespace {

/// The newest errors, for the exception.
class RunLog final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity > Severity::kERROR) return;
    try {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (errors_.size() > kMost) errors_.clear();
      errors_ += errors_.empty() ? "" : "\n";
      errors_ += message;
    } catch (...) {
      // out of memory for the text: the failure is reported without it
    }
  }
  std::string take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(errors_, std::string());
  }

 private:
  static constexpr size_t kMost = 16384;
  std::mutex mutex_;
  std::string errors_;
};

/// TensorRT's own allocations, counted and released with the rest.
class EngineMemory final : public nvinfer1::IGpuAllocator {
 public:
  explicit EngineMemory(Device& device) : device_(device) {}

  // TensorRT calls the asynchronous forms, which call `allocate` and `deallocate` by default.
  void* allocate(uint64_t size, uint64_t, nvinfer1::AllocatorFlags) noexcept override {
    try {
      if (size == 0) return nullptr;
      // TensorRT may call on a thread of its own, which has no context yet
      device_.makeCurrent();
      return device_.allocate(size, MemoryUse::kEngines);
    } catch (const Failure& failure) {
      // TensorRT reports the null; the session adds the figures
      const std::lock_guard<std::mutex> lock(mutex_);
      needed_ = failure.needed;
      free_ = failure.free;
      return nullptr;
    } catch (...) {
      return nullptr;
    }
  }
  bool deallocate(void* memory) noexcept override {
    try {
      device_.makeCurrent();
    } catch (...) {
      // a broken device releases nothing, but the entry goes all the same
    }
    device_.release(memory);
    return true;
  }
  /// Throws instead of `failure` when memory ran out since the last call.
  void rethrow(const std::string& message) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t needed = std::exchange(needed_, 0);
    if (needed == 0) return;
    throw Failure(FailureKind::kMemory,
                  message + "; device memory for TensorRT: " + std::to_string(needed) +
                      " bytes needed, " + std::to_string(free_) + " free",
                  needed, free_);
  }

 private:
  Device& device_;
  std::mutex mutex_;
  uint64_t needed_ = 0;
  uint64_t free_ = 0;
};

/// Shared by the engine and its contexts; the last one destroys it.
struct Shared {
  explicit Shared(Device& device) : memory(device) {}

  [[noreturn]] void fail(FailureKind kind, std::string message) {
    const std::string plugin = plugins::takeFailure();
    if (!plugin.empty()) message += "\n" + plugin;
    const std::string errors = log.take();
    if (!errors.empty()) message += "\n" + errors;
    memory.rethrow(message);
    throw Failure(kind, message);
  }

  // destroyed in the opposite order
  RunLog log;
  EngineMemory memory;
  std::unique_ptr<nvinfer1::IRuntime> runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
#ifdef TRT_MAJOR_RTX
  /// Made the cache, and ends after it.
  std::unique_ptr<nvinfer1::IRuntimeConfig> cacheConfig;
  /// Used by all contexts, and outlives them.
  std::unique_ptr<nvinfer1::IRuntimeCache> kernels;
#endif
  /// As given, until the first context takes them.
  std::vector<uint8_t> given;
  std::string refused;
};

nvinfer1::Dims toDims(const Dims& sizes) {
  nvinfer1::Dims dims{};
  dims.nbDims = static_cast<int32_t>(sizes.size());
  for (size_t i = 0; i < sizes.size() && i < nvinfer1::Dims::MAX_DIMS; ++i) dims.d[i] = sizes[i];
  return dims;
}

Dims fromDims(const nvinfer1::Dims& dims) {
  return dims.nbDims < 0 ? Dims() : Dims(dims.d, dims.d + dims.nbDims);
}

/// TensorRT calls it from `enqueueV3`, once per layer.
class LayerProfiler final : public nvinfer1::IProfiler {
 public:
  void reportLayerTime(const char* name, float ms) noexcept override {
    try {
      layers_.push_back({name == nullptr ? "" : name, ms});
    } catch (...) {
      // out of memory a layer is missing, and `take` says so
      isIncomplete_ = true;
    }
  }
  std::vector<LayerTime> take() {
    if (std::exchange(isIncomplete_, false)) {
      layers_.clear();
      throw Failure(FailureKind::kMemory, "host memory ran out while layers were timed");
    }
    return std::exchange(layers_, {});
  }

 private:
  std::vector<LayerTime> layers_;
  bool isIncomplete_ = false;
};

/// Kept with its source: it is not documented whether TensorRT reads that later.
struct OwnedContext {
#ifdef TRT_MAJOR_RTX
  std::unique_ptr<nvinfer1::IRuntimeConfig> config;
#endif
  std::unique_ptr<nvinfer1::IExecutionContext> context;
};

/// Asked of the contexts that can tell: TensorRT-RTX's.
template <typename Executed>
auto isCapturableBy(const Executed& context, Stream stream, int)
    -> decltype(context.isStreamCapturable(stream)) {
  return context.isStreamCapturable(stream);
}
template <typename Executed>
bool isCapturableBy(const Executed&, Stream, long) {
  return true;
}

class TensorRtContext final : public Context {
 public:
  TensorRtContext(std::shared_ptr<Shared> shared, OwnedContext owned)
      : shared_(std::move(shared)), owned_(std::move(owned)), context_(owned_.context.get()) {}

  void setInputDims(const std::map<std::string, Dims>& dims) override {
    for (const auto& [name, sizes] : dims) {
      if (!context_->setInputShape(name.c_str(), toDims(sizes))) {
        shared_->fail(FailureKind::kRequest,
                      "input " + name + ": TensorRT refused " + describeDims(sizes));
      }
    }
    const char* missing = nullptr;
    if (context_->inferShapes(1, &missing) != 0) {
      shared_->fail(FailureKind::kRequest,
                    std::string("TensorRT cannot tell the sizes of the outputs; input ") +
                        (missing == nullptr ? "?" : missing) + " is not set");
    }
  }
  Dims dims(const std::string& tensor) const override {
    const Dims sizes = fromDims(context_->getTensorShape(tensor.c_str()));
    for (const int64_t size : sizes) {
      if (size < 0)
        shared_->fail(FailureKind::kPlan,
                      "output " + tensor + ": its size is known only after it is computed");
    }
    return sizes;
  }
  size_t scratchBytes() override {
    const size_t bytes = context_->updateDeviceMemorySizeForShapes();
    // 0: "an error occurred"; then what the largest shapes of any profile need
    return bytes > 0 ? bytes
                     : static_cast<size_t>(
                           std::max<int64_t>(shared_->engine->getDeviceMemorySizeV2(), 0));
  }
  void setScratch(void* memory, size_t bytes) override {
    context_->setDeviceMemoryV2(memory, static_cast<int64_t>(bytes));
  }
  void bind(const std::string& tensor, void* memory) override {
    if (!context_->setTensorAddress(tensor.c_str(), memory)) {
      shared_->fail(FailureKind::kPlan, "tensor " + tensor + ": TensorRT refused its address");
    }
  }
  void enqueue(Stream stream) override {
    if (!context_->enqueueV3(stream))
      shared_->fail(FailureKind::kDevice, "TensorRT did not run the engine");
  }
  bool isCapturable(Stream stream) const override { return isCapturableBy(*context_, stream, 0); }
  void watchLayers() override {
    context_->setEnqueueEmitsProfile(true);
    context_->setProfiler(&profiler_);
  }
  std::vector<LayerTime> takeLayers() override { return profiler_.take(); }

 private:
  std::shared_ptr<Shared> shared_;
  // outlives the context that may call it
  LayerProfiler profiler_;
  OwnedContext owned_;
  nvinfer1::IExecutionContext* context_;
};

class TensorRtEngine final : public Engine {
 public:
  explicit TensorRtEngine(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {
    const nvinfer1::ICudaEngine& engine = *shared_->engine;
    for (int32_t i = 0; i < engine.getNbIOTensors(); ++i) {
      const char* name = engine.getIOTensorName(i);
      tensors_.push_back({name, typeName(engine.getTensorDataType(name)),
                          fromDims(engine.getTensorShape(name)),
                          engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT});
    }
  }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  std::unique_ptr<Context> createContext(const std::map<std::string, Dims>& dims,
                                         Stream stream) override {
    const int32_t profile = chooseProfile(dims);
    OwnedContext owned = create();
    if (owned.context == nullptr)
      shared_->fail(FailureKind::kPlan, "TensorRT did not create an execution context");
    // a new context has profile 0
    if (profile > 0 && !owned.context->setOptimizationProfileAsync(profile, stream)) {
      shared_->fail(FailureKind::kPlan, "TensorRT refused profile " + std::to_string(profile));
    }
    return std::make_unique<TensorRtContext>(shared_, std::move(owned));
  }

  std::string describeLayers() override {
    const std::unique_ptr<nvinfer1::IEngineInspector> inspector(
        shared_->engine->createEngineInspector());
    const char* text =
        inspector == nullptr
            ? nullptr
            : inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
    if (text == nullptr)
      shared_->fail(FailureKind::kPlan, "TensorRT did not describe the plan's layers");
    return text;
  }

  KernelCache kernels() override {
    KernelCache cache{{}, shared_->refused};
#ifdef TRT_MAJOR_RTX
    if (shared_->kernels == nullptr) return cache;
    const std::unique_ptr<nvinfer1::IHostMemory> bytes(shared_->kernels->serialize());
    if (bytes == nullptr) return cache;
    const auto* begin = static_cast<const uint8_t*>(bytes->data());
    cache.bytes.assign(begin, begin + bytes->size());
#endif
    return cache;
  }

 private:
  OwnedContext create() {
    OwnedContext owned;
    constexpr auto kOurs = nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED;
#ifdef TRT_MAJOR_RTX
    // Compiles the kernels for these shapes before the capture: those that finish later, in the
    // background, would not be in the graph.
    owned.config.reset(shared_->engine->createRuntimeConfig());
    if (owned.config == nullptr) return owned;
    owned.config->setExecutionContextAllocationStrategy(kOurs);
    owned.config->setDynamicShapesKernelSpecializationStrategy(
        nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
    useKernels(*owned.config);
    owned.context.reset(shared_->engine->createExecutionContext(owned.config.get()));
#else
    owned.context.reset(shared_->engine->createExecutionContext(kOurs));
#endif
    return owned;
  }

#ifdef TRT_MAJOR_RTX
  /// TensorRT-RTX compiles kernels for the device when a context is made and when shapes are new;
  /// with a cache, only once.
  void useKernels(nvinfer1::IRuntimeConfig& config) {
    if (shared_->kernels == nullptr) {
      shared_->cacheConfig.reset(shared_->engine->createRuntimeConfig());
      if (shared_->cacheConfig == nullptr) return;
      shared_->kernels.reset(shared_->cacheConfig->createRuntimeCache());
      if (shared_->kernels == nullptr) return;
      const std::vector<uint8_t> given = std::exchange(shared_->given, {});
      if (!given.empty() && !shared_->kernels->deserialize(given.data(), given.size())) {
        const std::string reason = shared_->log.take();
        shared_->refused =
            "TensorRT-RTX does not take them" + (reason.empty() ? std::string() : ": " + reason);
      }
    }
    if (!config.setRuntimeCache(*shared_->kernels)) shared_->kernels.reset();
  }
#endif

  /// Of the profiles that admit these sizes, the narrowest.
  int32_t chooseProfile(const std::map<std::string, Dims>& dims) const {
    const nvinfer1::ICudaEngine& engine = *shared_->engine;
    int32_t best = -1;
    int64_t least = INT64_MAX;
    std::string allowed;
    for (int32_t profile = 0; profile < engine.getNbOptimizationProfiles(); ++profile) {
      int64_t spread = 0;
      bool isAdmitted = true;
      for (const auto& [name, sizes] : dims) {
        const Dims low = fromDims(
            engine.getProfileShape(name.c_str(), profile, nvinfer1::OptProfileSelector::kMIN));
        const Dims high = fromDims(
            engine.getProfileShape(name.c_str(), profile, nvinfer1::OptProfileSelector::kMAX));
        for (size_t d = 0; d < sizes.size() && d < low.size() && d < high.size(); ++d) {
          isAdmitted &= low[d] <= sizes[d] && sizes[d] <= high[d];
          spread += high[d] - low[d];
          if (sizes[d] < low[d] || sizes[d] > high[d]) {
            allowed += " " + name + " " + describeDims(low) + " to " + describeDims(high);
          }
        }
      }
      if (isAdmitted && spread < least) {
        best = profile;
        least = spread;
      }
    }
    if (best >= 0) return best;
    throw Failure(FailureKind::kRequest, "the engine was built for other sizes:" + allowed);
  }

  std::shared_ptr<Shared> shared_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

std::unique_ptr<Engine> loadTensorRtEngine(const EntryPoints& entryPoints, Device& device,
                                           const Blob& plan, const std::vector<uint8_t>& kernels) {
  const auto shared = std::make_shared<Shared>(device);
  shared->runtime.reset(static_cast<nvinfer1::IRuntime*>(
      entryPoints.createRuntime(&shared->log, NV_TENSORRT_VERSION)));
  if (shared->runtime == nullptr)
    shared->fail(FailureKind::kDriver, "TensorRT did not create a runtime");
  shared->runtime->setGpuAllocator(&shared->memory);
  plugins::registerPlugins(shared->runtime->getPluginRegistry());
  shared->engine.reset(shared->runtime->deserializeCudaEngine(plan.data, plan.bytes));
  if (shared->engine == nullptr) shared->fail(FailureKind::kPlan, "TensorRT did not take the plan");
  shared->given = kernels;
  return std::make_unique<TensorRtEngine>(shared);
}

}  // namespace semanticvla::runtime
