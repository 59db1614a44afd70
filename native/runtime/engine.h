#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace semanticvla::runtime {

/// A deserialized plan as the session sees it: implemented over TensorRT in each module, and by the
/// tests.

using Dims = std::vector<int64_t>;

struct TensorInfo {
  std::string name;
  /// `float32`, `bfloat16`, ... (lib/graph/onnxModel.ts)
  std::string type;
  /// -1: dynamic.
  Dims dims;
  bool isInput = false;
};

/// What one layer took in one run, by the runtime's own profiler.
struct LayerTime {
  std::string name;
  float ms = 0;
};

/// The engine at fixed shapes and addresses. Calls throw Failure.
class Context {
 public:
  virtual ~Context() = default;
  /// Sizes of every dynamic input; after it the sizes of outputs are known.
  virtual void setInputDims(const std::map<std::string, Dims>& dims) = 0;
  virtual Dims dims(const std::string& tensor) const = 0;
  /// Bytes of scratch memory at these sizes; 0 where the runtime does not tell.
  virtual size_t scratchBytes() = 0;
  virtual void setScratch(void* memory, size_t bytes) = 0;
  virtual void bind(const std::string& tensor, void* memory) = 0;
  virtual void enqueue(Stream stream) = 0;
  /// Whether the work of `enqueue` can be captured as a graph; true where the runtime cannot be
  /// asked.
  virtual bool isCapturable(Stream) const { return true; }
  /// From now on every `enqueue` waits for the device and times each layer. Not within captures.
  virtual void watchLayers() = 0;
  /// Of the runs since the last call, in order.
  virtual std::vector<LayerTime> takeLayers() = 0;
};

/// Kernels that an engine compiled at run time (TensorRT-RTX), to be reused.
struct KernelCache {
  /// Empty: none are kept.
  std::vector<uint8_t> bytes;
  /// Why the kernels given to the engine were not used; empty: they were, or none were given.
  std::string refused;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  /// A context in the profile that admits these sizes; kRequest when none does, with the sizes that
  /// one would.
  virtual std::unique_ptr<Context> createContext(const std::map<std::string, Dims>& dims,
                                                 Stream stream) = 0;
  /// What the plan was compiled to: the inspector's JSON.
  virtual std::string describeLayers() = 0;
  /// As of now.
  virtual KernelCache kernels() { return {}; }
};

/// Bytes of one element of a type; kPlan when unknown.
size_t typeBytes(const std::string& type);
/// Bytes of a tensor without dynamic sizes.
size_t tensorBytes(const std::string& type, const Dims& dims);
/// `[2, 130]`
std::string describeDims(const Dims& dims);

}  // namespace semanticvla::runtime
