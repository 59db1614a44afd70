#include "runtime/weights.h"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "support/regularFile.h"

namespace semanticvla::runtime {

namespace {

/// Reads a part of a weight. Throws Failure: kWeights.
void readPart(std::unique_ptr<RegularFile>& file, std::string& opened, const std::string& path,
              uint8_t* target, size_t bytes, uint64_t offset) {
  try {
    if (file == nullptr || opened != path) {
      file = std::make_unique<RegularFile>(path);
      opened = path;
    }
    file->read(target, bytes, offset);
  } catch (const std::runtime_error& error) {
    throw Failure(FailureKind::kWeights, error.what());
  }
}

/// Two pinned buffers, used in turn.
class Conveyor {
 public:
  Conveyor(Device& device, Stream stream, size_t chunkBytes) : device_(device), stream_(stream) {
    for (Slot& slot : slots_) {
      slot.memory = PinnedBuffer(device, chunkBytes);
      slot.passed = Owned<Event>(device, device.createEvent());
    }
  }
  /// After a failure, pending copies may still read the buffers.
  ~Conveyor() {
    if (isFinished_) return;
    try {
      device_.synchronize(stream_);
    } catch (...) {
      // the first failure says more
    }
  }
  Conveyor(const Conveyor&) = delete;
  Conveyor& operator=(const Conveyor&) = delete;

  /// Waits until the device has read the next buffer, and returns it.
  uint8_t* next() {
    current_ = 1 - current_;
    Slot& slot = slots_[current_];
    if (slot.isUsed) device_.synchronize(slot.passed.get());
    return slot.memory.data();
  }
  void send(void* target, size_t bytes) {
    Slot& slot = slots_[current_];
    device_.copyToDevice(target, slot.memory.data(), bytes, stream_);
    device_.record(slot.passed.get(), stream_);
    slot.isUsed = true;
  }
  void finish() {
    isFinished_ = true;
    device_.synchronize(stream_);
  }

 private:
  struct Slot {
    PinnedBuffer memory;
    Owned<Event> passed;
    bool isUsed = false;
  };
  Device& device_;
  Stream stream_;
  Slot slots_[2];
  int current_ = 1;
  bool isFinished_ = false;
};

uint64_t countOf(const WeightPart& part) { return part.bytes / bytesOf(part.type); }

const char* typeOf(FloatType type) {
  switch (type) {
    case FloatType::kFloat16:
      return "float16";
    case FloatType::kBfloat16:
      return "bfloat16";
    case FloatType::kFloat64:
      return "float64";
    case FloatType::kInt8:
      return "int8";
    case FloatType::kFloat8:
      return "float8";
    default:
      return "float32";
  }
}

void checkBinding(const WeightBinding& binding) {
  uint64_t count = 0;
  for (const WeightPart& part : binding.parts) {
    count += countOf(part);
    const bool areLevels = bytesOf(part.type) == 1 || bytesOf(binding.type) == 1;
    if (areLevels && part.type != binding.type) {
      throw Failure(FailureKind::kWeights, "weight " + binding.name + ": expected " +
                                               typeOf(binding.type) + ", found " +
                                               typeOf(part.type) + " in " + part.file);
    }
  }
  uint64_t wanted = 1;
  for (const int64_t size : binding.dims) wanted *= static_cast<uint64_t>(size);
  if (count != wanted) {
    throw Failure(FailureKind::kWeights, "weight " + binding.name + ": expected " +
                                             describeDims(binding.dims) + ", found " +
                                             std::to_string(count) + " numbers in its parts");
  }
}

}  // namespace

void checkWeights(const Engine& engine, const std::vector<WeightBinding>& bindings,
                  const char* which) {
  std::map<std::string, const TensorInfo*> inputs;
  for (const TensorInfo& tensor : engine.tensors()) {
    if (tensor.isInput) inputs.emplace(tensor.name, &tensor);
  }
  for (const WeightBinding& weight : bindings) {
    const auto found = inputs.find(weight.name);
    const std::string expected =
        weight.name + " " + typeOf(weight.type) + " " + describeDims(weight.dims);
    if (found == inputs.end()) {
      throw Failure(FailureKind::kPlan, std::string(which) + " engine: expected the input " +
                                            expected + ", found none");
    }
    const TensorInfo& tensor = *found->second;
    if (tensor.type != typeOf(weight.type) || tensor.dims != weight.dims) {
      throw Failure(FailureKind::kPlan, std::string(which) + " engine: expected the input " +
                                            expected + ", found " + tensor.type + " " +
                                            describeDims(tensor.dims));
    }
  }
}

UploadedWeights uploadWeights(Device& device, Stream stream,
                              const std::vector<WeightBinding>& bindings, size_t chunkBytes,
                              const ReportUpload& report) {
  Layout layout;
  std::vector<size_t> offsets;
  UploadProgress progress;
  for (const WeightBinding& binding : bindings) {
    checkBinding(binding);
    size_t bytes = 0;
    for (const WeightPart& part : binding.parts) {
      bytes += countOf(part) * bytesOf(binding.type);
      progress.total += part.bytes;
    }
    offsets.push_back(layout.add(bytes));
  }
  UploadedWeights uploaded;
  uploaded.memory = DeviceBuffer(device, layout.bytes(), MemoryUse::kWeights);
  if (bindings.empty()) return uploaded;

  Conveyor conveyor(device, stream, chunkBytes);
  std::unique_ptr<RegularFile> file;
  std::string opened;
  std::vector<uint8_t> raw;
  for (size_t i = 0; i < bindings.size(); ++i) {
    const WeightBinding& binding = bindings[i];
    uint8_t* target = uploaded.memory.data() + offsets[i];
    uploaded.addresses.emplace(binding.name, target);
    for (const WeightPart& part : binding.parts) {
      const size_t from = bytesOf(part.type), to = bytesOf(binding.type);
      const uint64_t chunk = chunkBytes / std::max(from, to);
      for (uint64_t begin = 0; begin < countOf(part);) {
        const auto count = static_cast<size_t>(std::min(chunk, countOf(part) - begin));
        uint8_t* pinned = conveyor.next();
        if (part.type == binding.type) {
          readPart(file, opened, part.file, pinned, count * from, part.offset + begin * from);
        } else {
          raw.resize(count * from);
          readPart(file, opened, part.file, raw.data(), raw.size(), part.offset + begin * from);
          const size_t bad = convertFloats(part.type, raw.data(), binding.type, pinned, count);
          if (bad < count) {
            throw Failure(FailureKind::kWeights,
                          "weight " + binding.name + " in " + part.file + ": number " +
                              std::to_string(begin + bad) +
                              " is finite there and infinite in the engine's precision");
          }
        }
        conveyor.send(target, count * to);
        target += count * to;
        begin += count;
        progress.done += count * from;
        if (report && !report(progress))
          throw Failure(FailureKind::kCancelled, "cancelled while loading weights");
      }
    }
  }
  conveyor.finish();
  return uploaded;
}

}  // namespace semanticvla::runtime
