#include "onnx/policyGraphs.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "support/regularFile.h"

namespace semanticvla::onnx {

namespace {

// OrtLoggingLevel, GraphOptimizationLevel, OrtAllocatorType, OrtMemType
// every failure is returned as a status; the runtime need not print it too
constexpr int kLogFatal = 4;
constexpr int kOptimizeAll = 99;
constexpr int kDeviceAllocator = 0;
constexpr int kDefaultMemory = 0;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<const char*> pointers(const std::vector<std::string>& names) {
  std::vector<const char*> out;
  for (const std::string& name : names) out.push_back(name.c_str());
  return out;
}

}  // namespace

size_t elementBytes(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
    case ElementType::kInt32:
      return 4;
    case ElementType::kInt64:
      return 8;
    case ElementType::kUint8:
    case ElementType::kBool:
      return 1;
  }
  throw std::runtime_error(
      "expected a tensor of float32, uint8, int32, int64 or bool, found element type " +
      std::to_string(static_cast<int>(type)));
}

Interruptible::Interruptible(std::shared_ptr<const OrtApi> api) : api_(std::move(api)) {
  OrtRunOptions* options = nullptr;
  api_->check(api_->functions().createRunOptions(&options));
  options_ = {options, api_->functions().releaseRunOptions};
}

void Interruptible::interrupt() {
  api_->check(api_->functions().runOptionsSetTerminate(options_.get()));
}

PolicyGraphs::PolicyGraphs(std::shared_ptr<const OrtApi> api) : api_(std::move(api)) {
  const OrtFunctions& ort = api_->functions();
  OrtEnv* env = nullptr;
  api_->check(ort.createEnv(kLogFatal, "semanticvla", &env));
  env_ = {env, ort.releaseEnv};
  OrtMemoryInfo* memory = nullptr;
  api_->check(ort.createCpuMemoryInfo(kDeviceAllocator, kDefaultMemory, &memory));
  memory_ = {memory, ort.releaseMemoryInfo};
}

PolicyGraphs::~PolicyGraphs() { close(); }

void PolicyGraphs::load(const Model& instruction, const Model& policy, const Model& denoiser,
                        const GraphOptions& options) {
  stagePrefix_ = options.stagePrefix;
  Graph first = open(instruction, options, options.instructionProfile);
  policy_ = open(policy, options, options.policyProfile);
  if (!denoiser.bytes.empty() || !denoiser.file.empty())
    denoiser_ = open(denoiser, options, options.denoiserProfile);
  instruction_ = std::move(first);
  packedBytes_ = options.packedBytes;
}

void PolicyGraphs::cancelLoad() {
  const std::lock_guard<std::mutex> lock(loading_);
  isLoadCancelled_ = true;
  if (loadingOptions_ != nullptr) {
    api_->check(api_->functions().setLoadCancellationFlag(loadingOptions_, true));
  }
}

bool PolicyGraphs::isLoadCancelled() {
  const std::lock_guard<std::mutex> lock(loading_);
  return isLoadCancelled_;
}

/// The session copies `buffers` on creation; they can be freed then (AddExternalInitializers in
/// onnxruntime_c_api.h).
void PolicyGraphs::readWeights(const std::vector<Weight>& weights, OrtSessionOptions* options,
                               Buffers& buffers) {
  if (weights.empty()) return;
  const OrtFunctions& ort = api_->functions();
  std::vector<Owned<OrtValue>> values;
  std::vector<const char*> names;
  std::vector<const OrtValue*> raw;
  std::unique_ptr<RegularFile> file;
  std::string opened;
  for (const Weight& weight : weights) {
    if (isLoadCancelled()) throw std::runtime_error("loading was cancelled");
    if (file == nullptr || opened != weight.file) {
      file = std::make_unique<RegularFile>(weight.file);
      opened = weight.file;
    }
    buffers.emplace_back(new uint8_t[weight.bytes]);
    file->read(buffers.back().get(), weight.bytes, weight.offset);
    OrtValue* value = nullptr;
    api_->check(ort.createTensorWithData(memory_.get(), buffers.back().get(), weight.bytes,
                                         weight.dims.data(), weight.dims.size(), weight.type,
                                         &value));
    values.emplace_back(value, ort.releaseValue);
    names.push_back(weight.name.c_str());
    raw.push_back(value);
  }
  api_->check(ort.addExternalInitializers(options, names.data(), raw.data(), raw.size()));
}

PolicyGraphs::Graph PolicyGraphs::open(const Model& model, const GraphOptions& options,
                                       const std::string& profile) {
  const OrtFunctions& ort = api_->functions();
  OrtSessionOptions* raw = nullptr;
  api_->check(ort.createSessionOptions(&raw));
  const Owned<OrtSessionOptions> owned(raw, ort.releaseSessionOptions);
  api_->check(ort.setSessionLogSeverityLevel(raw, kLogFatal));
  api_->check(ort.setSessionGraphOptimizationLevel(raw, kOptimizeAll));
  api_->check(ort.setIntraOpNumThreads(raw, options.threads));
  if (options.lean) {
    api_->check(ort.disableCpuMemArena(raw));
    api_->check(ort.disableMemPattern(raw));
  }
  for (const auto& [key, value] : options.config) {
    api_->check(ort.addSessionConfigEntry(raw, key.c_str(), value.c_str()));
  }
  if (!profile.empty()) api_->check(ort.enableProfiling(raw, profile.c_str()));
  Buffers buffers;
  readWeights(model.weights, raw, buffers);

  /// During its lifetime `cancelLoad` reaches this load; an earlier call counts too.
  class Reachable {
   public:
    Reachable(PolicyGraphs& pair, OrtSessionOptions* options) : pair_(pair) {
      const std::lock_guard<std::mutex> lock(pair_.loading_);
      if (pair_.isLoadCancelled_) throw std::runtime_error("loading was cancelled");
      pair_.loadingOptions_ = options;
    }
    ~Reachable() {
      const std::lock_guard<std::mutex> lock(pair_.loading_);
      pair_.loadingOptions_ = nullptr;
    }

   private:
    PolicyGraphs& pair_;
  };
  const Reachable reachable(*this, raw);

  Graph graph;
  OrtSession* session = nullptr;
  api_->check(model.bytes.empty() ? ort.createSession(env_.get(), model.file.c_str(), raw, &session)
                                  : ort.createSessionFromArray(env_.get(), model.bytes.data(),
                                                               model.bytes.size(), raw, &session));
  graph.session = {session, ort.releaseSession};
  for (const Weight& weight : model.weights) {
    uint64_t count = 1;
    for (const int64_t length : weight.dims) count *= static_cast<uint64_t>(length);
    graph.weightBytes += count * sizeof(float);
  }

  OrtAllocator* allocator = nullptr;
  api_->check(ort.getAllocatorWithDefaultOptions(&allocator));
  const auto names = [&](auto count, auto name, std::vector<std::string>& out) {
    size_t length = 0;
    api_->check(count(session, &length));
    for (size_t i = 0; i < length; ++i) {
      char* text = nullptr;
      api_->check(name(session, i, allocator, &text));
      out.emplace_back(text);
      api_->check(ort.allocatorFree(allocator, text));
    }
  };
  names(ort.sessionGetInputCount, ort.sessionGetInputName, graph.inputs);
  names(ort.sessionGetOutputCount, ort.sessionGetOutputName, graph.outputs);
  return graph;
}

Outputs PolicyGraphs::runGraph(Graph& graph, const std::vector<const State*>& states,
                               std::vector<Tensor>& inputs, const Interruptible& run) {
  const OrtFunctions& ort = api_->functions();
  std::vector<const char*> names;
  std::vector<const OrtValue*> values;
  for (const State* state : states) {
    for (const auto& [name, value] : state->values) {
      // a state may hold what only another graph reads
      if (!contains(graph.inputs, name)) continue;
      names.push_back(name.c_str());
      values.push_back(value.get());
    }
  }
  std::vector<Owned<OrtValue>> made;
  for (Tensor& input : inputs) {
    OrtValue* value = nullptr;
    api_->check(ort.createTensorWithData(memory_.get(), input.bytes.data(), input.bytes.size(),
                                         input.dims.data(), input.dims.size(),
                                         static_cast<int>(input.type), &value));
    made.emplace_back(value, ort.releaseValue);
    names.push_back(input.name.c_str());
    values.push_back(value);
  }
  const std::vector<const char*> outputNames = pointers(graph.outputs);
  std::vector<OrtValue*> raw(outputNames.size(), nullptr);
  api_->check(ort.run(graph.session.get(), run.options(), names.data(), values.data(),
                      values.size(), outputNames.data(), outputNames.size(), raw.data()));
  Outputs outputs;
  outputs.names = graph.outputs;
  for (OrtValue* value : raw) outputs.values.emplace_back(value, ort.releaseValue);
  return outputs;
}

const PolicyGraphs::State& PolicyGraphs::stateOf(uint64_t state) const {
  const auto found = states_.find(state);
  if (found == states_.end()) throw std::runtime_error("this instruction was released");
  return found->second;
}

void PolicyGraphs::keep(State& state, std::string name, Owned<OrtValue> value) const {
  const View kind = view(value.get());
  state.bytes += kind.count * elementBytes(kind.type);
  state.values.emplace(std::move(name), std::move(value));
}

Outputs PolicyGraphs::encode(uint64_t state, std::vector<Tensor>& inputs,
                             const Interruptible& run) {
  requireLoaded();
  Outputs all = runGraph(instruction_, {}, inputs, run);
  Outputs stages;
  State kept;
  for (size_t i = 0; i < all.names.size(); ++i) {
    std::string& name = all.names[i];
    if (!stagePrefix_.empty() && name.compare(0, stagePrefix_.size(), stagePrefix_) == 0) {
      stages.names.push_back(std::move(name));
      stages.values.push_back(std::move(all.values[i]));
      continue;
    }
    // outputs that this policy does not read (a tower without samplers, say) are not kept
    if (!contains(policy_.inputs, name) && !contains(denoiser_.inputs, name)) continue;
    keep(kept, std::move(name), std::move(all.values[i]));
  }
  states_[state] = std::move(kept);
  return stages;
}

Outputs PolicyGraphs::run(uint64_t state, uint64_t kept, std::vector<Tensor>& inputs,
                          const Interruptible& run) {
  requireLoaded();
  Outputs all = runGraph(policy_, {&stateOf(state)}, inputs, run);
  if (denoiser_.session.get() == nullptr) return all;
  Outputs told;
  State observed;
  for (size_t i = 0; i < all.names.size(); ++i) {
    if (contains(denoiser_.inputs, all.names[i])) {
      keep(observed, std::move(all.names[i]), std::move(all.values[i]));
    } else {
      told.names.push_back(std::move(all.names[i]));
      told.values.push_back(std::move(all.values[i]));
    }
  }
  states_[kept] = std::move(observed);
  return told;
}

Outputs PolicyGraphs::denoise(uint64_t state, uint64_t kept, std::vector<Tensor>& inputs,
                              const Interruptible& run) {
  requireLoaded();
  return runGraph(denoiser_, {&stateOf(state), &stateOf(kept)}, inputs, run);
}

void PolicyGraphs::release(uint64_t state) { states_.erase(state); }

void PolicyGraphs::endProfiling() {
  requireLoaded();
  const OrtFunctions& ort = api_->functions();
  OrtAllocator* allocator = nullptr;
  api_->check(ort.getAllocatorWithDefaultOptions(&allocator));
  for (const Graph* graph : {&instruction_, &policy_, &denoiser_}) {
    if (graph->session.get() == nullptr) continue;
    char* file = nullptr;
    api_->check(ort.sessionEndProfiling(graph->session.get(), allocator, &file));
    api_->check(ort.allocatorFree(allocator, file));
  }
}

void PolicyGraphs::close() {
  states_.clear();
  denoiser_ = Graph();
  policy_ = Graph();
  instruction_ = Graph();
  packedBytes_ = 0;
}

uint64_t PolicyGraphs::heldBytes() const {
  uint64_t bytes = instruction_.weightBytes + policy_.weightBytes + denoiser_.weightBytes;
  bytes += packedBytes_;
  for (const auto& [id, state] : states_) bytes += state.bytes;
  return bytes;
}

View PolicyGraphs::view(OrtValue* value) const {
  const OrtFunctions& ort = api_->functions();
  OrtTensorTypeAndShapeInfo* raw = nullptr;
  api_->check(ort.getTensorTypeAndShape(value, &raw));
  const Owned<OrtTensorTypeAndShapeInfo> info(raw, ort.releaseTypeAndShape);
  int type = 0;
  api_->check(ort.getTensorElementType(raw, &type));
  size_t rank = 0;
  api_->check(ort.getDimensionsCount(raw, &rank));
  View view{static_cast<ElementType>(type), std::vector<int64_t>(rank), nullptr, 1};
  api_->check(ort.getDimensions(raw, view.dims.data(), rank));
  for (const int64_t length : view.dims) view.count *= static_cast<size_t>(length);
  void* data = nullptr;
  api_->check(ort.getTensorMutableData(value, &data));
  view.data = data;
  return view;
}

void PolicyGraphs::requireLoaded() const {
  if (policy_.session.get() == nullptr) throw std::runtime_error("no model is loaded");
}

}  // namespace semanticvla::onnx
