#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/blob.h"
#include "runtime/graph.h"
#include "runtime/staging.h"
#include "runtime/weights.h"

namespace semanticvla::runtime {

struct EnginePlan {
  Blob plan;
  /// Kernels it compiled earlier (Engine::kernels); empty: none.
  std::vector<uint8_t> kernels;
  /// Inputs that carry weights.
  std::vector<WeightBinding> weights;
};

/// How a session gets its parts: from a TensorRT module, or from a test.
struct SessionParts {
  std::unique_ptr<Device> device;
  std::function<std::unique_ptr<Engine>(Device&, const Blob& plan,
                                        const std::vector<uint8_t>& kernels)>
      loadEngine;
  /// Empty: this build has no kernels, and frames are refused.
  std::function<std::unique_ptr<ImagePipeline>(const ImagePipelineRequest&)> imagePipeline;
};

struct SessionRequest {
  /// Runs once per prepared state; its outputs are inputs of `step` and `rounds` by name.
  EnginePlan prepare;
  /// Runs once per call.
  EnginePlan step;
  /// Runs `roundsSpec.count` times after `step`; an empty plan: nothing does.
  EnginePlan rounds;
  RoundsSpec roundsSpec;
  /// Input of `step` that frames can be given for.
  std::string imageInput;
  bool usesGraphs = true;
  /// Every layer is timed by the runtime's profiler, which slows the run and allows no graph.
  bool watchesLayers = false;
  /// Shapes that are kept ready, least recently used out first.
  size_t keptSteps = 4;
  /// Bytes of each of the two pinned buffers that weights go through.
  size_t chunkBytes = 32U << 20;
  ReportUpload progress;
};

/// Borrowed for the time of a call.
struct HostTensor {
  std::string name;
  Dims dims;
  const uint8_t* data = nullptr;
  size_t bytes = 0;
};

/// One call's inputs, copied by the caller's thread, for `run`, which may be on another one. Ends
/// before the session.
struct StepInputs {
  std::vector<std::pair<std::string, Dims>> tensors;
  /// No frames: the image input is among the tensors.
  ImagePipelineRequest images;
  Staged staged;
};

struct StepResult {
  std::vector<OutputTensor> outputs;
  /// From the first byte uploaded to the last one back, by the device's clock.
  double deviceMs = 0;
  /// Its parts, by events on the stream; 0 in a first call: inputs (and the state, if it changed)
  /// to the device, the engine (and the preprocessing of frames), outputs to the host.
  double h2dMs = 0;
  double computeMs = 0;
  double d2hMs = 0;
  /// Host time of putting the engine, or the graph, on the stream.
  double enqueueMs = 0;
  /// This call prepared or captured its shapes, so its times are not typical.
  bool isFirst = false;
  /// Of the session's first call that wanted a CUDA graph and runs without: why.
  std::string captureFailure;
  /// With `watchesLayers`.
  std::vector<LayerTime> layers;
  /// If the call had frames and asked for it: the image input as the device made it.
  std::vector<uint8_t> images;
};

/// The inspector's JSON of each engine; empty: there is no such engine.
struct LayerInfo {
  std::string prepare;
  std::string step;
  std::string rounds;
};

struct SessionKernels {
  KernelCache prepare;
  KernelCache step;
  KernelCache rounds;
};

struct PreparedState {
  uint64_t id = 0;
  double deviceMs = 0;
  /// With `watchesLayers`.
  std::vector<LayerTime> layers;
};

/// Two engines, or three, with their weights on one device. Everything but `stage` and
/// `refusesFrames` is for one thread. Calls throw Failure; after a kDevice failure that broke the
/// CUDA context every later call repeats it, since such a context stays broken.
class Session {
 public:
  /// Acquires everything it needs, or releases it all and throws.
  Session(SessionParts parts, SessionRequest request);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const DeviceInfo& device() const { return info_; }
  /// From any thread: why frames of these sizes cannot become the image input on the device; empty:
  /// they can.
  std::string refusesFrames(const ImagePipelineRequest& images);
  /// From any thread: checks the names and sizes of a call's inputs and copies them.
  StepInputs stage(const std::vector<HostTensor>& tensors, const ImagePipelineRequest& images,
                   const std::vector<const uint8_t*>& framePixels);

  PreparedState prepare(const std::vector<HostTensor>& inputs);
  /// @param returnsImages also returns the image input, to be compared; copied after the timed part
  StepResult run(uint64_t state, StepInputs inputs, bool returnsImages = false);
  /// Does nothing for a state that was released before.
  void release(uint64_t state);
  MemoryReport memory();
  /// Device memory and pinned memory; 0 once it is closed.
  uint64_t heldBytes() const noexcept;
  LayerInfo layerInfo();
  SessionKernels kernels();
  /// Releases everything; idempotent. Later calls fail.
  void close() noexcept;

 private:
  struct State {
    Arena arena;
    std::string key;
    DeviceBuffer memory;
  };

  void open(SessionRequest& request);
  void openRounds(SessionRequest& request, uint64_t before, uint64_t total);
  void checkPlans() const;
  void requireOpen() const;
  bool answers() noexcept;
  template <typename Body>
  auto guarded(Body body) -> decltype(body());
  PreparedState prepareState(const std::vector<HostTensor>& inputs);
  StepResult runStep(uint64_t state, StepInputs& inputs, bool returnsImages);
  Step& stepFor(const State& state, const StepInputs& inputs);
  void growScratch(size_t bytes);
  ImagePipelineRequest withSide(ImagePipelineRequest images) const;
  StepShapes shapesOf(const std::vector<std::pair<std::string, Dims>>& tensors,
                      const ImagePipelineRequest& images) const;

  // In order of dependency; `close` releases them in the opposite order.
  SessionParts parts_;
  DeviceInfo info_;
  Owned<Stream> stream_;
  Owned<Event> begin_;
  Owned<Event> uploaded_;
  Owned<Event> computed_;
  Owned<Event> end_;
  std::unique_ptr<Engine> prepareEngine_;
  UploadedWeights prepareWeights_;
  std::unique_ptr<Engine> stepEngine_;
  UploadedWeights stepWeights_;
  RoundsParts rounds_;
  /// Of the rounds' engine alone; it shares the others with the step's.
  UploadedWeights roundsWeights_;
  DeviceBuffer scratch_;
  Staging staging_;
  /// For inputs that did not get a pinned slot.
  PinnedBuffer ownInputs_;
  std::map<uint64_t, State> states_;
  /// Most recently used first.
  std::list<std::unique_ptr<Step>> steps_;

  /// What the step's engine and the rounds read of the state and of the call.
  std::map<std::string, TensorInfo> stepInputs_;
  /// By frame sizes, since asking takes a pipeline, which takes a millisecond to make.
  std::map<std::string, std::string> refusedFrames_;
  std::mutex framesMutex_;
  std::string imageInput_;
  bool usesGraphs_ = true;
  bool watchesLayers_ = false;
  size_t keptSteps_ = 0;
  uint64_t nextState_ = 1;
  std::string broken_;
  bool hasToldCapture_ = false;
  std::atomic<bool> isClosed_{false};
};

}  // namespace semanticvla::runtime
