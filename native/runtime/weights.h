#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/convertWeights.h"
#include "runtime/engine.h"
#include "runtime/owned.h"

namespace semanticvla::runtime {

/// Bytes of a tensor that lie in a file as they are: little-endian, row-major, contiguous.
struct WeightPart {
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  FloatType type = FloatType::kFloat32;
};

/// An input of an engine that carries a weight: its parts, stacked along the first axis, converted
/// to its type.
struct WeightBinding {
  std::string name;
  FloatType type = FloatType::kFloat32;
  Dims dims;
  std::vector<WeightPart> parts;
};

struct UploadProgress {
  uint64_t done = 0;
  uint64_t total = 0;
};

/// Called on the uploading thread after every chunk; false cancels.
using ReportUpload = std::function<bool(const UploadProgress&)>;

/// The weights of an engine, in device memory of their own.
struct UploadedWeights {
  DeviceBuffer memory;
  std::map<std::string, void*> addresses;
};

/// Throws Failure kPlan unless every weight is an input of the engine, of that type and size.
/// @param which engine, for the message: `first`
void checkWeights(const Engine& engine, const std::vector<WeightBinding>& bindings,
                  const char* which);

/// From the files to the device through two pinned buffers: one is filled while the other is sent.
/// Nothing else is held in host memory. Throws Failure: kMemory before anything is read, kWeights,
/// kDevice, kCancelled.
/// @param chunkBytes size of each pinned buffer
UploadedWeights uploadWeights(Device& device, Stream stream,
                              const std::vector<WeightBinding>& bindings, size_t chunkBytes,
                              const ReportUpload& report);

}  // namespace semanticvla::runtime
