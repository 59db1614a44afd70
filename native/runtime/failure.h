#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace semanticvla::runtime {

/// What kind of failure, for the TypeScript that words it.
enum class FailureKind {
  /// Device or pinned memory ran out; `needed` and `free` say by how much.
  kMemory,
  /// CUDA failed. The context may be unusable: the session runs nothing more.
  kDevice,
  /// No driver, too old a driver, no such device.
  kDriver,
  /// TensorRT rejected the plan, or it is not the plan that the request describes.
  kPlan,
  /// A weight could not be read or converted.
  kWeights,
  /// The caller asked for something that the plan or the session cannot do.
  kRequest,
  kCancelled,
};

/// Default visibility: thrown in a module, caught in the addon.
class __attribute__((visibility("default"))) Failure : public std::runtime_error {
 public:
  Failure(FailureKind kind, const std::string& message, uint64_t needed = 0, uint64_t free = 0)
      : std::runtime_error(message), kind(kind), needed(needed), free(free) {}

  FailureKind kind;
  /// Bytes; kMemory only.
  uint64_t needed;
  uint64_t free;
};

}  // namespace semanticvla::runtime
