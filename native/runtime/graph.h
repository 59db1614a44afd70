#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/arena.h"
#include "runtime/engine.h"
#include "runtime/imagePipeline.h"
#include "runtime/owned.h"
#include "runtime/rounds.h"

namespace semanticvla::runtime {

struct OutputTensor {
  std::string name;
  std::string type;
  Dims dims;
  std::vector<uint8_t> bytes;
};

/// The parts of a call that determine all its shapes.
struct StepShapes {
  /// Of the prepared state that the engine reads.
  Arena state;
  /// Of the inputs that come with the call.
  Arena inputs;
  /// Frames that become the image input on the device; none: that input comes with the call.
  ImagePipelineRequest images;

  /// What comes with the call, as one string.
  std::string callKey() const;
};

/// What all steps of a session share.
struct StepParts {
  Device& device;
  Engine& engine;
  Stream stream;
  /// Between the engine and the copy of its outputs.
  Event computed;
  /// The runtime's profiler times every layer; such steps are never captured.
  bool watchesLayers;
  const std::map<std::string, void*>& weights;
  /// What runs after the engine, if anything does.
  const RoundsParts& rounds;
  /// Contexts run one at a time, so they share one scratch memory. Grows it and rebinds existing
  /// steps.
  const DeviceBuffer& scratch;
  std::function<void(size_t bytes)> growScratch;
};

struct StepPipeline {
  std::unique_ptr<ImagePipeline> pipeline;
  std::string imageInput;
};

/// The engine at fixed shapes, with its own inputs, outputs and copy of the prepared state, all at
/// fixed addresses, and the rounds after it: from uploaded inputs to outputs in host memory it is
/// one CUDA graph.
class Step {
 public:
  /// @param key of the shapes, to look up the step by
  Step(const StepParts& parts, std::string key, StepShapes shapes, StepPipeline images);

  const std::string& key() const { return key_; }
  /// What came back to the host; valid once the stream has passed.
  std::vector<OutputTensor> takeOutputs() const;

  /// The image input that was made of frames; empty where it comes with the call.
  const DeviceBuffer& images() const { return image_; }

  /// Which state the copy holds; 0: none.
  uint64_t boundState() const { return boundState_; }
  void bindState(uint64_t id, const DeviceBuffer& state);
  /// `inputs` (pinned, laid out as in the shapes, then the frames) to the device.
  void upload(const uint8_t* inputs, size_t bytes);
  /// The first run is not captured, as TensorRT requires after a change of shapes; then, with
  /// `capture`, it is captured and the graph is launched from then on. Where the capture fails and
  /// the device still answers, later runs are not captured either.
  /// @returns whether this call did one-time work: the first run or the capture
  bool run(bool capture);
  /// Of the runs since the last call; empty unless layers are watched.
  std::vector<LayerTime> takeLayers();
  /// Why there is no graph though one was asked for; empty: there is, or none was.
  const std::string& captureFailure() const { return captureFailure_; }
  size_t inputBytes() const { return inputBytes_; }
  /// The scratch memory has moved: a graph captured with its address is void, and the next run is
  /// not captured.
  void dropGraph();
  void rebindScratch();

 private:
  void openRounds();
  void enqueue(bool capturing);
  void captureRun();

  StepParts parts_;
  std::string key_;
  StepShapes shapes_;
  StepPipeline images_;
  Arena outputs_;
  /// Outputs that only the rounds read; they stay on the device.
  Arena between_;
  std::vector<size_t> frameOffsets_;
  size_t inputBytes_ = 0;
  std::unique_ptr<Context> context_;
  DeviceBuffer state_;
  DeviceBuffer input_;
  DeviceBuffer image_;
  DeviceBuffer pipelineMemory_;
  size_t tableBytes_ = 0;
  DeviceBuffer output_;
  DeviceBuffer betweenMemory_;
  /// Empty without rounds.
  std::unique_ptr<Rounds> rounds_;
  /// `outputs_`, then the rounds'.
  PinnedBuffer outputHost_;
  Owned<Graph> graph_;
  std::string captureFailure_;
  uint64_t boundState_ = 0;
  bool isFirst_ = true;
};

/// Total bytes of a call's inputs and frames, and the offset of each frame: written on one thread,
/// read on another.
size_t layoutFrames(const StepShapes& shapes, std::vector<size_t>& offsets);

}  // namespace semanticvla::runtime
