#include "runtime/graph.h"

#include <cstring>
#include <utility>

#include "runtime/range.h"

namespace semanticvla::runtime {

void Arena::add(const std::string& name, const std::string& type, const Dims& dims) {
  const size_t size = tensorBytes(type, dims);
  tensors[name] = {type, dims, layout_.add(size), size};
  bytes = layout_.bytes();
}

std::string Arena::key() const {
  std::string text;
  for (const auto& [name, tensor] : tensors) text += name + describeDims(tensor.dims);
  return text;
}

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
  for (const Arena* arena : {&shapes_.state, &shapes_.inputs}) {
    for (const auto& [name, tensor] : arena->tensors) dims[name] = tensor.dims;
  }
  context_ = parts_.engine.createContext(dims, parts_.stream);
  context_->setInputDims(dims);
  if (parts_.watchesLayers) context_->watchLayers();
  for (const TensorInfo& tensor : parts_.engine.tensors()) {
    if (!tensor.isInput) outputs_.add(tensor.name, tensor.type, context_->dims(tensor.name));
  }

  state_ = DeviceBuffer(device, shapes_.state.bytes, MemoryUse::kTransfers);
  input_ = DeviceBuffer(device, inputBytes_, MemoryUse::kTransfers);
  output_ = DeviceBuffer(device, outputs_.bytes, MemoryUse::kTransfers);
  outputHost_ = PinnedBuffer(device, outputs_.bytes);
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
  for (const auto& [name, tensor] : shapes_.state.tensors)
    context_->bind(name, state_.data() + tensor.offset);
  for (const auto& [name, tensor] : shapes_.inputs.tensors)
    context_->bind(name, input_.data() + tensor.offset);
  for (const auto& [name, tensor] : outputs_.tensors)
    context_->bind(name, output_.data() + tensor.offset);
  if (images_.pipeline) context_->bind(images_.imageInput, image_.data());
  parts_.growScratch(context_->scratchBytes());
  context_->setScratch(parts_.scratch.data(), parts_.scratch.bytes());
}

void Step::dropGraph() { graph_ = Owned<Graph>(); }

void Step::rebindScratch() { context_->setScratch(parts_.scratch.data(), parts_.scratch.bytes()); }

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
  }
  if (capturing) {
    parts_.device.recordCaptured(parts_.computed, parts_.stream);
  } else {
    parts_.device.record(parts_.computed, parts_.stream);
  }
  const Range range(parts_.device, "d2h");
  parts_.device.copyToHost(outputHost_.data(), output_.data(), outputs_.bytes, parts_.stream);
}

std::vector<LayerTime> Step::takeLayers() {
  return parts_.watchesLayers ? context_->takeLayers() : std::vector<LayerTime>();
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
  if (!context_->isCapturable(parts_.stream)) {
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
