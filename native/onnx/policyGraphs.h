#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "onnx/ortApi.h"

namespace semanticvla::onnx {

/// A tensor that owns its bytes.
struct Tensor {
  std::string name;
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> dims;
  std::vector<uint8_t> bytes;
};

/// An initializer that lies in a file as it is: little-endian, row-major, contiguous.
struct Weight {
  std::string name;
  /// TensorProto.DataType, which ONNXTensorElementDataType follows.
  int type = 0;
  std::vector<int64_t> dims;
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct Model {
  /// The model itself; empty: `file` is opened.
  std::vector<uint8_t> bytes;
  std::string file;
  /// Read into the runtime's own memory, so that nothing of their files stays mapped; the model's
  /// others are mapped.
  std::vector<Weight> weights;
};

using ConfigEntry = std::pair<std::string, std::string>;

/// How the graphs are set up; lib/runtime/onnxRuntime.ts says why.
struct GraphOptions {
  int threads = 1;
  /// Keeps neither an arena nor memory patterns.
  bool lean = false;
  /// Of mapped weights that the runtime packs into its own memory.
  uint64_t packedBytes = 0;
  std::vector<ConfigEntry> config;
  /// Prefix of each graph's own profile; empty: not profiled.
  std::string instructionProfile;
  std::string policyProfile;
  std::string denoiserProfile;
  /// Outputs of the instruction graph with this prefix are intermediates and go to the caller.
  std::string stagePrefix;
};

/// A run that any thread can interrupt, before or while it runs: the runtime stops between two
/// nodes.
class Interruptible {
 public:
  explicit Interruptible(std::shared_ptr<const OrtApi> api);
  void interrupt();
  const OrtRunOptions* options() const { return options_.get(); }

 private:
  std::shared_ptr<const OrtApi> api_;
  Owned<OrtRunOptions> options_;
};

/// Values of a run, where the runtime left them.
struct Outputs {
  std::vector<std::string> names;
  std::vector<Owned<OrtValue>> values;
};

/// A value's numbers in place; valid as long as the value.
struct View {
  ElementType type;
  std::vector<int64_t> dims;
  const void* data;
  size_t count;
};

/// Bytes of one number. @throws std::runtime_error for a type that does not cross to JS
size_t elementBytes(ElementType type);

/// The instruction graph, the policy graph, the denoiser of a diffusion policy, and the state of
/// each encoded instruction and of each observation that is being denoised. One thread at a time,
/// except for `cancelLoad`, and for `view`, which touches only the value that it is given.
class PolicyGraphs {
 public:
  explicit PolicyGraphs(std::shared_ptr<const OrtApi> api);
  ~PolicyGraphs();

  /// @throws std::runtime_error with the runtime's words, also when cancelled; or the file that
  /// could not be read
  /// @param denoiser with neither bytes nor a file: the policy has none
  void load(const Model& instruction, const Model& policy, const Model& denoiser,
            const GraphOptions& options);
  /// From any thread, before, during or after.
  void cancelLoad();
  /// Keeps under `state` what the later graphs read; returns the intermediates.
  Outputs encode(uint64_t state, std::vector<Tensor>& inputs, const Interruptible& run);
  /// The outputs of the policy graph. Those that the denoiser reads are kept under `kept` instead.
  Outputs run(uint64_t state, uint64_t kept, std::vector<Tensor>& inputs, const Interruptible& run);
  /// All outputs of the denoiser. @param kept by `run`
  Outputs denoise(uint64_t state, uint64_t kept, std::vector<Tensor>& inputs,
                  const Interruptible& run);
  void release(uint64_t state);
  /// Completes the profiles.
  void endProfiling();
  void close();
  /// Bytes of the runtime's own memory: weights that are not mapped, widened to float32, packed
  /// ones, and the states.
  uint64_t heldBytes() const;

  View view(OrtValue* value) const;

 private:
  struct Graph {
    Owned<OrtSession> session;
    std::vector<std::string> inputs;
    std::vector<std::string> outputs;
    uint64_t weightBytes = 0;
  };
  struct State {
    std::map<std::string, Owned<OrtValue>> values;
    uint64_t bytes = 0;
  };

  Graph open(const Model& model, const GraphOptions& options, const std::string& profile);
  Outputs runGraph(Graph& graph, const std::vector<const State*>& states,
                   std::vector<Tensor>& inputs, const Interruptible& run);
  const State& stateOf(uint64_t state) const;
  void keep(State& state, std::string name, Owned<OrtValue> value) const;
  using Buffers = std::vector<std::unique_ptr<uint8_t[]>>;
  void readWeights(const std::vector<Weight>& weights, OrtSessionOptions* options,
                   Buffers& buffers);
  bool isLoadCancelled();
  void requireLoaded() const;

  std::shared_ptr<const OrtApi> api_;
  Owned<OrtEnv> env_;
  Owned<OrtMemoryInfo> memory_;
  std::string stagePrefix_;
  Graph instruction_;
  Graph policy_;
  Graph denoiser_;
  std::map<uint64_t, State> states_;
  uint64_t packedBytes_ = 0;
  /// Guards what `cancelLoad` may touch.
  std::mutex loading_;
  OrtSessionOptions* loadingOptions_ = nullptr;
  bool isLoadCancelled_ = false;
};

}  // namespace semanticvla::onnx
