#include "runtime/graph.h"

#include <cstring>
#include <utility>

#include "runtime/range.h"

namespace semanticvla::runtime {

std::string StepShapes::callKey() const {
  std::string text = inputs.key() + (images.jpeg ? "j" : "-") + (images.centerCrop ? "c" : "-");
  for (const FrameSize& frame : images.frames) {
    text +=
        std::to_string(frame.width) + "x" + std::to_string(frame.height) + (frame.bgr ? "b" : "r");
  }
  return text;
}

size_t layoutFrames(const StepShapes& shapes, std::vector<size_t>& offsets) {
  Layout layout;
  layout.add(shapes.inputs.bytes);
  for (const FrameSize& frame : shapes.images.frames) {
    offsets.push_back(
        layout.add(static_cast<size_t>(frame.width) * static_cast<size_t>(frame.height) * 3));
  }
  return layout.bytes();
}

Step::Step(const StepParts& parts, std::string key, StepShapes shapes, StepPipeline images)
    : parts_(parts), key_(std::move(key)), shapes_(std::move(shapes)), images_(std::move(images)) {
  Device& device = parts_.device;
  inputBytes_ = layoutFrames(shapes_, frameOffsets_);

  std::map<std::string, Dims> dims;
  for (const TensorInfo& tensor : parts_.engine.tensors()) {
    if (!tensor.isInput) continue;
    for (const Arena* arena : {&shapes_.state, &shapes_.inputs}) {
      const auto given = arena->tensors.find(tensor.name);
      if (given != arena->tensors.end()) dims[tensor.name] = given->second.dims;
    }
  }
  context_ = parts_.engine.createContext(dims, parts_.stream);
  context_->setInputDims(dims);
  if (parts_.watchesLayers) context_->watchLayers();
  for (const TensorInfo& tensor : parts_.engine.tensors()) {
    if (tensor.isInput) continue;
    Arena& arena = parts_.rounds.reads(tensor.name) ? between_ : outputs_;
    arena.add(tensor.name, tensor.type, context_->dims(tensor.name));
  }

  state_ = DeviceBuffer(device, shapes_.state.bytes, MemoryUse::kTransfers);
  input_ = DeviceBuffer(device, inputBytes_, MemoryUse::kTransfers);
  output_ = DeviceBuffer(device, outputs_.bytes, MemoryUse::kTransfers);
  betweenMemory_ = DeviceBuffer(device, between_.bytes, MemoryUse::kTransfers);
  if (images_.pipeline) {
    const ImagePipeline& pipeline = *images_.pipeline;
    const std::vector<uint8_t>& tables = pipeline.tables();
    image_ = DeviceBuffer(device, pipeline.imageBytes(), MemoryUse::kTransfers);
    tableBytes_ = (tables.size() + 255) / 256 * 256;
    pipelineMemory_ =
        DeviceBuffer(device, tableBytes_ + pipeline.workspaceBytes(), MemoryUse::kScratch);
    const PinnedBuffer staged(device, tables.size());
    if (!tables.empty()) {
      std::memcpy(staged.data(), tables.data(), tables.size());
      device.copyToDevice(pipelineMemory_.data(), staged.data(), tables.size(), parts_.stream);
      device.synchronize(parts_.stream);
    }
  }

  for (const auto& [name, address] : parts_.weights) context_->bind(name, address);
  for (const auto& [name, tensor] : shapes_.state.tensors) {
    if (dims.count(name) > 0) context_->bind(name, state_.data() + tensor.offset);
  }
  for (const auto& [name, tensor] : shapes_.inputs.tensors) {
    if (dims.count(name) > 0) context_->bind(name, input_.data() + tensor.offset);
  }
  for (const auto& [name, tensor] : outputs_.tensors)
    context_->bind(name, output_.data() + tensor.offset);
  for (const auto& [name, tensor] : between_.tensors)
    context_->bind(name, betweenMemory_.data() + tensor.offset);
  if (images_.pipeline) context_->bind(images_.imageInput, image_.data());
  if (parts_.rounds.engine != nullptr) openRounds();
  const size_t roundBytes = rounds_ ? rounds_->outputs().bytes : 0;
  outputHost_ = PinnedBuffer(device, outputs_.bytes + roundBytes);
  parts_.growScratch(context_->scratchBytes());
  if (rounds_) parts_.growScratch(rounds_->context().scratchBytes());
  rebindScratch();
}

void Step::openRounds() {
  std::map<std::string, Rounds::Source> sources;
  const auto offer = [&](const Arena& arena, const DeviceBuffer& memory) {
    for (const auto& [name, tensor] : arena.tensors)
      sources[name] = {tensor.dims, memory.data() + tensor.offset};
  };
  offer(shapes_.state, state_);
  offer(shapes_.inputs, input_);
  offer(between_, betweenMemory_);
  rounds_ = std::make_unique<Rounds>(parts_.device, parts_.rounds, sources, parts_.stream,
                                     parts_.watchesLayers);
}

void Step::dropGraph() { graph_ = Owned<Graph>(); }

void Step::rebindScratch() {
  context_->setScratch(parts_.scratch.data(), parts_.scratch.bytes());
  if (rounds_) rounds_->context().setScratch(parts_.scratch.data(), parts_.scratch.bytes());
}

std::vector<OutputTensor> Step::takeOutputs() const {
  std::vector<OutputTensor> out;
  const auto take = [&](const Arena& arena, const uint8_t* host) {
    for (const auto& [name, tensor] : arena.tensors) {
      const uint8_t* bytes = host + tensor.offset;
      out.push_back({name, tensor.type, tensor.dims, {bytes, bytes + tensor.bytes}});
    }
  };
  take(outputs_, outputHost_.data());
  if (rounds_) take(rounds_->outputs(), outputHost_.data() + outputs_.bytes);
  return out;
}

void Step::bindState(uint64_t id, const DeviceBuffer& state) {
  // a partial copy is not a state
  boundState_ = 0;
  if (shapes_.state.bytes > 0) {
    parts_.device.copyOnDevice(state_.data(), state.data(), shapes_.state.bytes, parts_.stream);
  }
  boundState_ = id;
}

void Step::upload(const uint8_t* inputs, size_t bytes) {
  if (bytes > 0) parts_.device.copyToDevice(input_.data(), inputs, bytes, parts_.stream);
}

void Step::enqueue(bool capturing) {
  if (images_.pipeline) {
    const Range range(parts_.device, "preprocess");
    std::vector<const uint8_t*> frames;
    for (const size_t offset : frameOffsets_) frames.push_back(input_.data() + offset);
    images_.pipeline->enqueue(frames, pipelineMemory_.data(), pipelineMemory_.data() + tableBytes_,
                              image_.data(), parts_.stream);
  }
  {
    const Range range(parts_.device, "compute");
    context_->enqueue(parts_.stream);
    if (rounds_) rounds_->enqueue(parts_.stream);
  }
  if (capturing) {
    parts_.device.recordCaptured(parts_.computed, parts_.stream);
  } else {
    parts_.device.record(parts_.computed, parts_.stream);
  }
  const Range range(parts_.device, "d2h");
  if (outputs_.bytes > 0)
    parts_.device.copyToHost(outputHost_.data(), output_.data(), outputs_.bytes, parts_.stream);
  if (rounds_) {
    parts_.device.copyToHost(outputHost_.data() + outputs_.bytes, rounds_->output().data(),
                             rounds_->outputs().bytes, parts_.stream);
  }
}

std::vector<LayerTime> Step::takeLayers() {
  if (!parts_.watchesLayers) return {};
  std::vector<LayerTime> layers = context_->takeLayers();
  if (rounds_) {
    const std::vector<LayerTime> more = rounds_->context().takeLayers();
    layers.insert(layers.end(), more.begin(), more.end());
  }
  return layers;
}

bool Step::run(bool capture) {
  Device& device = parts_.device;
  if (graph_.get() != nullptr) {
    const Range range(device, "graph");
    device.launch(graph_.get(), parts_.stream);
    return false;
  }
  enqueue(false);
  if (!capture || !captureFailure_.empty()) return std::exchange(isFirst_, false);
  // The first run may allocate and compile; it must be over before the capture, which allows
  // neither.
  device.synchronize(parts_.stream);
  isFirst_ = false;
  if (!context_->isCapturable(parts_.stream) ||
      (rounds_ && !rounds_->context().isCapturable(parts_.stream))) {
    captureFailure_ = "TensorRT says that it cannot be captured at these sizes";
    return true;
  }
  try {
    captureRun();
  } catch (const Failure& failure) {
    captureFailure_ = failure.what();
    // The run before it left its outputs. A broken context fails here, and the session with it.
    device.synchronize(parts_.stream);
  }
  return true;
}

void Step::captureRun() {
  Device& device = parts_.device;
  device.beginCapture(parts_.stream);
  try {
    enqueue(true);
  } catch (...) {
    device.dropCapture(parts_.stream);
    throw;
  }
  graph_ = Owned<Graph>(device, device.endCapture(parts_.stream));
}

}  // namespace semanticvla::runtime
