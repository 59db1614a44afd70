#include "runtime/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>
#include <utility>

#include "runtime/range.h"

namespace semanticvla::runtime {

namespace {

constexpr size_t kLeastScratch = 1 << 20;

[[noreturn]] void refuse(const std::string& message) {
  throw Failure(FailureKind::kRequest, message);
}

bool admits(const Dims& declared, const Dims& given) {
  if (declared.size() != given.size()) return false;
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] < 0 || (declared[i] >= 0 && declared[i] != given[i])) return false;
  }
  return true;
}

/// Two progress bars as one: the second starts where the first ended.
ReportUpload part(const ReportUpload& report, uint64_t before, uint64_t total) {
  if (!report) return {};
  return [&report, before, total](const UploadProgress& progress) {
    return report({before + progress.done, total});
  };
}

/// A weight that the step's engine has too lies on the device once.
void withoutShared(std::vector<WeightBinding>& weights, const std::vector<WeightBinding>& others) {
  const auto isShared = [&](const WeightBinding& weight) {
    return std::any_of(others.begin(), others.end(),
                       [&](const WeightBinding& other) { return other.name == weight.name; });
  };
  weights.erase(std::remove_if(weights.begin(), weights.end(), isShared), weights.end());
}

uint64_t bytesOfWeights(const EnginePlan& plan) {
  uint64_t bytes = 0;
  for (const WeightBinding& weight : plan.weights) {
    for (const WeightPart& part : weight.parts) bytes += part.bytes;
  }
  return bytes;
}

}  // namespace

Session::Session(SessionParts parts, SessionRequest request) : parts_(std::move(parts)) {
  try {
    open(request);
  } catch (...) {
    close();
    throw;
  }
}

Session::~Session() { close(); }

void Session::open(SessionRequest& request) {
  Device& device = *parts_.device;
  device.makeCurrent();
  info_ = device.info();
  stream_ = Owned<Stream>(device, device.createStream());
  begin_ = Owned<Event>(device, device.createEvent());
  uploaded_ = Owned<Event>(device, device.createEvent());
  computed_ = Owned<Event>(device, device.createEvent());
  end_ = Owned<Event>(device, device.createEvent());
  imageInput_ = request.imageInput;
  watchesLayers_ = request.watchesLayers;
  usesGraphs_ = request.usesGraphs && !watchesLayers_;
  keptSteps_ = std::max<size_t>(request.keptSteps, 1);

  const uint64_t first = bytesOfWeights(request.prepare);
  const uint64_t second = first + bytesOfWeights(request.step);
  withoutShared(request.rounds.weights, request.step.weights);
  const uint64_t total = second + bytesOfWeights(request.rounds);
  const auto load = [&](EnginePlan& plan, const char* which, uint64_t before,
                        std::unique_ptr<Engine>& engine, UploadedWeights& weights) {
    engine = parts_.loadEngine(device, plan.plan, plan.kernels);
    // the engine has its own copy by now
    plan.plan = {};
    plan.kernels = {};
    checkWeights(*engine, plan.weights, which);
    weights = uploadWeights(device, stream_.get(), plan.weights, request.chunkBytes,
                            part(request.progress, before, total));
  };
  load(request.prepare, "first", 0, prepareEngine_, prepareWeights_);
  load(request.step, "second", first, stepEngine_, stepWeights_);
  for (const TensorInfo& tensor : stepEngine_->tensors()) {
    if (tensor.isInput && stepWeights_.addresses.count(tensor.name) == 0)
      stepInputs_.emplace(tensor.name, tensor);
  }
  if (request.roundsSpec.count > 0) openRounds(request, second, total);
  checkPlans();
  size_t bytes = 0;
  for (const auto& [name, tensor] : stepInputs_) {
    const bool isFixed =
        std::all_of(tensor.dims.begin(), tensor.dims.end(), [](int64_t size) { return size >= 0; });
    if (isFixed) bytes += (tensorBytes(tensor.type, tensor.dims) + 255) / 256 * 256;
  }
  staging_.reserve(device, 2, bytes);
}

void Session::openRounds(SessionRequest& request, uint64_t before, uint64_t total) {
  Device& device = *parts_.device;
  rounds_.spec = std::move(request.roundsSpec);
  rounds_.engine = parts_.loadEngine(device, request.rounds.plan, request.rounds.kernels);
  request.rounds.plan = {};
  request.rounds.kernels = {};
  checkWeights(*rounds_.engine, request.rounds.weights, "third");
  roundsWeights_ = uploadWeights(device, stream_.get(), request.rounds.weights, request.chunkBytes,
                                 part(request.progress, before, total));
  rounds_.weights = roundsWeights_.addresses;
  for (const TensorInfo& tensor : rounds_.engine->tensors()) {
    const auto shared = stepWeights_.addresses.find(tensor.name);
    if (tensor.isInput && shared != stepWeights_.addresses.end()) rounds_.weights.insert(*shared);
  }
  rounds_.uploadTables(device, stream_.get());
  std::set<std::string> made;
  for (const TensorInfo& tensor : stepEngine_->tensors()) {
    if (!tensor.isInput) made.insert(tensor.name);
  }
  for (const TensorInfo& tensor : rounds_.engine->tensors()) {
    if (rounds_.reads(tensor.name) && made.count(tensor.name) == 0)
      stepInputs_.emplace(tensor.name, tensor);
  }
}

/// A tensor that the first engine makes and the second reads must have one type.
void Session::checkPlans() const {
  for (const TensorInfo& made : prepareEngine_->tensors()) {
    const auto read = stepInputs_.find(made.name);
    if (made.isInput || read == stepInputs_.end() || read->second.type == made.type) continue;
    throw Failure(FailureKind::kPlan, "tensor " + made.name +
                                          ": expected one type in both engines, found " +
                                          made.type + " and " + read->second.type +
                                          "; they come from different builds");
  }
}

void Session::requireOpen() const {
  if (isClosed_.load()) refuse("the session is closed");
  if (!broken_.empty()) throw Failure(FailureKind::kDevice, broken_);
}

/// What broke the CUDA context is repeated by every call after it; what was only refused is not.
bool Session::answers() noexcept {
  try {
    parts_.device->makeCurrent();
    parts_.device->synchronize(stream_.get());
    return true;
  } catch (...) {
    return false;
  }
}

template <typename Body>
auto Session::guarded(Body body) -> decltype(body()) {
  requireOpen();
  try {
    parts_.device->makeCurrent();
    return body();
  } catch (const Failure& failure) {
    if (failure.kind == FailureKind::kDevice && !answers()) {
      broken_ = std::string(failure.what()) + "; the session cannot go on and must be opened again";
    }
    throw;
  }
}

StepShapes Session::shapesOf(const std::vector<std::pair<std::string, Dims>>& tensors,
                             const ImagePipelineRequest& images) const {
  StepShapes shapes;
  shapes.images = images;
  // sorted by name, so that the order in which a call names its tensors does not change the layout
  for (const auto& [name, dims] : std::map<std::string, Dims>(tensors.begin(), tensors.end())) {
    const auto found = stepInputs_.find(name);
    if (found == stepInputs_.end()) refuse("input " + name + ": the engine has none of this name");
    if (!admits(found->second.dims, dims)) {
      refuse("input " + name + ": expected " + describeDims(found->second.dims) + ", found " +
             describeDims(dims));
    }
    shapes.inputs.add(name, found->second.type, dims);
  }
  return shapes;
}

ImagePipelineRequest Session::withSide(ImagePipelineRequest images) const {
  const auto input = stepInputs_.find(imageInput_);
  // [I, S, S, 3]
  if (input != stepInputs_.end() && input->second.dims.size() == 4) {
    images.imageSide = static_cast<int>(input->second.dims[1]);
  }
  return images;
}

std::string Session::refusesFrames(const ImagePipelineRequest& images) {
  if (isClosed_.load()) refuse("the session is closed");
  if (!parts_.imagePipeline) return "this build has no kernels";
  const auto input = stepInputs_.find(imageInput_);
  if (input == stepInputs_.end()) return "the engine has no input " + imageInput_;
  StepShapes shapes;
  shapes.images = withSide(images);
  const std::string key = shapes.callKey();
  const std::lock_guard<std::mutex> lock(framesMutex_);
  const auto known = refusedFrames_.find(key);
  if (known != refusedFrames_.end()) return known->second;
  std::string reason;
  try {
    const size_t bytes = parts_.imagePipeline(shapes.images)->imageBytes();
    if (bytes != tensorBytes(input->second.type, input->second.dims)) {
      reason = "expected frames that make " + imageInput_ + " " + describeDims(input->second.dims) +
               ", found " + std::to_string(images.frames.size()) + " that make " +
               std::to_string(bytes) + " bytes";
    }
  } catch (const Failure& failure) {
    if (failure.kind != FailureKind::kRequest) throw;
    reason = failure.what();
  }
  // a camera has one frame size, or a few
  if (refusedFrames_.size() >= 64) refusedFrames_.clear();
  refusedFrames_.emplace(key, reason);
  return reason;
}

StepInputs Session::stage(const std::vector<HostTensor>& tensors,
                          const ImagePipelineRequest& images,
                          const std::vector<const uint8_t*>& framePixels) {
  if (isClosed_.load()) refuse("the session is closed");
  if (!images.frames.empty() && !parts_.imagePipeline) {
    refuse("frames: this build has no kernels; give the preprocessed images instead");
  }
  StepInputs inputs;
  inputs.images = withSide(images);
  for (const HostTensor& tensor : tensors) inputs.tensors.emplace_back(tensor.name, tensor.dims);
  const StepShapes shapes = shapesOf(inputs.tensors, inputs.images);
  std::vector<size_t> offsets;
  inputs.staged = staging_.take(layoutFrames(shapes, offsets));
  for (const HostTensor& tensor : tensors) {
    const Arena::Tensor& place = shapes.inputs.tensors.at(tensor.name);
    if (place.bytes != tensor.bytes) {
      refuse("input " + tensor.name + ": expected " + std::to_string(place.bytes) +
             " bytes, found " + std::to_string(tensor.bytes));
    }
    std::memcpy(inputs.staged.data() + place.offset, tensor.data, tensor.bytes);
  }
  for (size_t i = 0; i < images.frames.size(); ++i) {
    const FrameSize& frame = images.frames[i];
    const size_t bytes = static_cast<size_t>(frame.width) * static_cast<size_t>(frame.height) * 3;
    std::memcpy(inputs.staged.data() + offsets[i], framePixels[i], bytes);
  }
  return inputs;
}

PreparedState Session::prepare(const std::vector<HostTensor>& inputs) {
  return guarded([&] { return prepareState(inputs); });
}

PreparedState Session::prepareState(const std::vector<HostTensor>& inputs) {
  Device& device = *parts_.device;
  const Range range(device, "instruction");
  Arena given;
  std::map<std::string, Dims> dims;
  std::map<std::string, const TensorInfo*> declared;
  for (const TensorInfo& tensor : prepareEngine_->tensors()) {
    if (tensor.isInput && prepareWeights_.addresses.count(tensor.name) == 0)
      declared.emplace(tensor.name, &tensor);
  }
  for (const HostTensor& input : inputs) {
    const auto found = declared.find(input.name);
    if (found == declared.end())
      refuse("input " + input.name + ": the engine has none of this name");
    if (!admits(found->second->dims, input.dims)) {
      refuse("input " + input.name + ": expected " + describeDims(found->second->dims) +
             ", found " + describeDims(input.dims));
    }
    given.add(input.name, found->second->type, input.dims);
    if (given.tensors.at(input.name).bytes != input.bytes) {
      refuse("input " + input.name + ": expected " +
             std::to_string(given.tensors.at(input.name).bytes) + " bytes, found " +
             std::to_string(input.bytes));
    }
    dims[input.name] = input.dims;
  }
  for (const auto& [name, tensor] : declared) {
    if (given.tensors.count(name) == 0)
      refuse("input " + name + ": expected it with the call, found none");
  }

  const std::unique_ptr<Context> context = prepareEngine_->createContext(dims, stream_.get());
  context->setInputDims(dims);
  if (watchesLayers_) context->watchLayers();
  State state;
  Arena unread;
  for (const TensorInfo& tensor : prepareEngine_->tensors()) {
    if (tensor.isInput) continue;
    Arena& arena = stepInputs_.count(tensor.name) > 0 ? state.arena : unread;
    arena.add(tensor.name, tensor.type, context->dims(tensor.name));
  }
  state.key = state.arena.key();
  growScratch(context->scratchBytes());
  state.memory = DeviceBuffer(device, state.arena.bytes, MemoryUse::kStates);
  const DeviceBuffer dropped(device, unread.bytes, MemoryUse::kTransfers);
  const DeviceBuffer onDevice(device, given.bytes, MemoryUse::kTransfers);
  const PinnedBuffer onHost(device, given.bytes);
  for (const HostTensor& input : inputs) {
    const Arena::Tensor& place = given.tensors.at(input.name);
    std::memcpy(onHost.data() + place.offset, input.data, input.bytes);
    context->bind(input.name, onDevice.data() + place.offset);
  }
  for (const auto& [name, address] : prepareWeights_.addresses) context->bind(name, address);
  for (const auto& [name, tensor] : state.arena.tensors)
    context->bind(name, state.memory.data() + tensor.offset);
  for (const auto& [name, tensor] : unread.tensors)
    context->bind(name, dropped.data() + tensor.offset);
  context->setScratch(scratch_.data(), scratch_.bytes());

  Stream stream = stream_.get();
  try {
    device.record(begin_.get(), stream);
    if (given.bytes > 0) device.copyToDevice(onDevice.data(), onHost.data(), given.bytes, stream);
    context->enqueue(stream);
    device.record(end_.get(), stream);
    device.synchronize(stream);
  } catch (...) {
    // pending work reads buffers that end with this call
    try {
      device.synchronize(stream);
    } catch (...) {
      // the first failure says more
    }
    throw;
  }
  PreparedState prepared{nextState_++, device.milliseconds(begin_.get(), end_.get()), {}};
  if (watchesLayers_) prepared.layers = context->takeLayers();
  states_.emplace(prepared.id, std::move(state));
  return prepared;
}

StepResult Session::run(uint64_t state, StepInputs inputs, bool returnsImages) {
  return guarded([&] { return runStep(state, inputs, returnsImages); });
}

StepResult Session::runStep(uint64_t id, StepInputs& inputs, bool returnsImages) {
  const auto found = states_.find(id);
  if (found == states_.end()) refuse("the prepared state was released");
  Device& device = *parts_.device;
  const Range range(device, "policy");
  Stream stream = stream_.get();
  Step& step = stepFor(found->second, inputs);
  const uint8_t* source = inputs.staged.data();
  if (!inputs.staged.isPinned() && step.inputBytes() > 0) {
    if (ownInputs_.bytes() < step.inputBytes())
      ownInputs_ = PinnedBuffer(device, step.inputBytes());
    std::memcpy(ownInputs_.data(), source, step.inputBytes());
    source = ownInputs_.data();
    // the next call of this size finds a pinned slot
    staging_.reserve(device, 2, step.inputBytes());
  }
  StepResult result;
  try {
    device.record(begin_.get(), stream);
    {
      const Range upload(device, "h2d");
      if (step.boundState() != id) step.bindState(id, found->second.memory);
      step.upload(source, step.inputBytes());
    }
    device.record(uploaded_.get(), stream);
    {
      const Range enqueue(device, "enqueue");
      const auto start = std::chrono::steady_clock::now();
      result.isFirst = step.run(usesGraphs_);
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - start;
      result.enqueueMs = took.count();
    }
    device.record(end_.get(), stream);
    const Range wait(device, "wait");
    device.synchronize(stream);
  } catch (...) {
    try {
      device.synchronize(stream);
    } catch (...) {
      // the first failure says more
    }
    // its state is unknown: the next call makes a new one
    steps_.pop_front();
    throw;
  }
  result.deviceMs = device.milliseconds(begin_.get(), end_.get());
  if (!result.isFirst) {
    result.h2dMs = device.milliseconds(begin_.get(), uploaded_.get());
    result.computeMs = device.milliseconds(uploaded_.get(), computed_.get());
    result.d2hMs = device.milliseconds(computed_.get(), end_.get());
  }
  if (!step.captureFailure().empty() && !std::exchange(hasToldCapture_, true)) {
    result.captureFailure = step.captureFailure();
  }
  result.layers = step.takeLayers();
  result.outputs = step.takeOutputs();
  const DeviceBuffer& images = step.images();
  if (returnsImages && images.bytes() > 0) {
    const PinnedBuffer host(device, images.bytes());
    device.copyToHost(host.data(), images.data(), images.bytes(), stream);
    device.synchronize(stream);
    result.images.assign(host.data(), host.data() + host.bytes());
  }
  return result;
}

Step& Session::stepFor(const State& state, const StepInputs& inputs) {
  StepShapes shapes = shapesOf(inputs.tensors, inputs.images);
  std::string key = state.key + shapes.callKey();
  for (auto it = steps_.begin(); it != steps_.end(); ++it) {
    if ((*it)->key() != key) continue;
    steps_.splice(steps_.begin(), steps_, it);
    return *steps_.front();
  }
  shapes.state = state.arena;
  const bool hasFrames = !inputs.images.frames.empty();
  for (const auto& [name, tensor] : stepInputs_) {
    const bool isGiven = shapes.inputs.tensors.count(name) + shapes.state.tensors.count(name) > 0;
    if (!isGiven && !(hasFrames && name == imageInput_)) {
      refuse("input " + name + ": expected it with the call, found none");
    }
  }
  StepPipeline pipeline;
  if (hasFrames) {
    if (shapes.inputs.tensors.count(imageInput_) > 0)
      refuse("expected frames or " + imageInput_ + ", found both");
    const TensorInfo& input = stepInputs_.at(imageInput_);
    pipeline.pipeline = parts_.imagePipeline(inputs.images);
    pipeline.imageInput = imageInput_;
    if (tensorBytes(input.type, input.dims) != pipeline.pipeline->imageBytes()) {
      refuse("frames: expected those of " + imageInput_ + " " + describeDims(input.dims) +
             ", found " + std::to_string(inputs.images.frames.size()) + " that make " +
             std::to_string(pipeline.pipeline->imageBytes()) + " bytes");
    }
  }
  // make room first: the new one may need the oldest one's memory
  while (steps_.size() >= keptSteps_) steps_.pop_back();
  const StepParts parts{
      *parts_.device,  *stepEngine_,   stream_.get(),
      computed_.get(), watchesLayers_, stepWeights_.addresses,
      rounds_,         scratch_,       [this](size_t bytes) { growScratch(bytes); }};
  steps_.push_front(
      std::make_unique<Step>(parts, std::move(key), std::move(shapes), std::move(pipeline)));
  return *steps_.front();
}

void Session::growScratch(size_t bytes) {
  // TensorRT refuses no memory at all, and an engine that asks for none may want some when it runs
  if (bytes == 0) bytes = kLeastScratch;
  if (scratch_.bytes() >= bytes) return;
  // free the old one first: both may not fit
  scratch_.reset();
  for (const auto& step : steps_) step->dropGraph();
  try {
    scratch_ = DeviceBuffer(*parts_.device, bytes, MemoryUse::kScratch);
  } catch (...) {
    // they refer to memory that is gone
    steps_.clear();
    throw;
  }
  for (const auto& step : steps_) step->rebindScratch();
}

void Session::release(uint64_t state) {
  guarded([&] { states_.erase(state); });
}

LayerInfo Session::layerInfo() {
  return guarded([&] {
    return LayerInfo{prepareEngine_->describeLayers(), stepEngine_->describeLayers(),
                     rounds_.engine == nullptr ? "" : rounds_.engine->describeLayers()};
  });
}

MemoryReport Session::memory() {
  return guarded([&] { return parts_.device->report(); });
}

uint64_t Session::heldBytes() const noexcept {
  return parts_.device == nullptr ? 0 : parts_.device->heldBytes();
}

SessionKernels Session::kernels() {
  return guarded([&] {
    return SessionKernels{prepareEngine_->kernels(), stepEngine_->kernels(),
                          rounds_.engine == nullptr ? KernelCache() : rounds_.engine->kernels()};
  });
}

void Session::close() noexcept {
  if (isClosed_.exchange(true) || parts_.device == nullptr) return;
  Device& device = *parts_.device;
  try {
    device.makeCurrent();
    if (stream_.get() != nullptr) device.synchronize(stream_.get());
  } catch (...) {
    // a broken device is released all the same
  }
  steps_.clear();
  states_.clear();
  staging_.clear();
  ownInputs_ = PinnedBuffer();
  scratch_ = DeviceBuffer();
  rounds_ = {};
  roundsWeights_ = {};
  stepWeights_ = {};
  stepEngine_.reset();
  prepareWeights_ = {};
  prepareEngine_.reset();
  end_ = Owned<Event>();
  computed_ = Owned<Event>();
  uploaded_ = Owned<Event>();
  begin_ = Owned<Event>();
  stream_ = Owned<Stream>();
  parts_.device.reset();
}

}  // namespace semanticvla::runtime
