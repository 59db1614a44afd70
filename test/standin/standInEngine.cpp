#include "standInEngine.h"

#include <chrono>
#include <cstring>
#include <mutex>
#include <sstream>
#include <utility>

#include "executable.h"
#include "onnx/ortApi.h"
#include "ownOperators.h"

namespace standin {

namespace {

using namespace semanticvla::runtime;
using fake::FakeDevice;
namespace onnx = semanticvla::onnx;

// OrtLoggingLevel, GraphOptimizationLevel, OrtAllocatorType, OrtMemType
constexpr int kLogFatal = 4, kAsWritten = 0, kDeviceAllocator = 0, kDefaultMemory = 0;

/// ONNX Runtime, opened once.
struct Runtime {
  onnx::OrtApi api{SEMANTICVLA_ONNXRUNTIME};
  OwnOperators operators{SEMANTICVLA_ONNXRUNTIME};
  onnx::OrtEnv* env = nullptr;
  onnx::OrtMemoryInfo* memory = nullptr;

  Runtime() {
    api.check(ort().createEnv(kLogFatal, "standin", &env));
    api.check(ort().createCpuMemoryInfo(kDeviceAllocator, kDefaultMemory, &memory));
  }
  const onnx::OrtFunctions& ort() const { return api.functions(); }
};

/// Never closed, as TensorRT's library.
Runtime& runtime() {
  static auto* const opened = new Runtime();
  return *opened;
}

/// A tensor where it lies.
struct Bound {
  std::string name;
  int64_t type;
  Dims dims;
  void* memory;
};

/// One of the mistakes that are made on purpose (FakeDevice's `wrong`): `swapWeights`, or
/// `rowOffset:NAME`.
void makeWrong(const std::string& wrong, std::vector<Bound>& inputs,
               std::vector<std::vector<uint8_t>>& moved) {
  const std::string offset = "rowOffset:";
  if (wrong == "swapWeights") {
    // the first two matrices of one type and size
    for (size_t a = 0; a < inputs.size(); ++a) {
      for (size_t b = a + 1; b < inputs.size(); ++b) {
        const bool isMatrix = inputs[a].dims.size() == 2 && inputs[a].dims[0] > 1;
        if (!isMatrix || inputs[a].type != inputs[b].type || inputs[a].dims != inputs[b].dims)
          continue;
        std::swap(inputs[a].memory, inputs[b].memory);
        return;
      }
    }
  }
  for (Bound& one : inputs) {
    if (wrong != offset + one.name) continue;
    const size_t bytes = tensorBytes(typeName(one.type), one.dims);
    Dims row(one.dims.begin() + 1, one.dims.end());
    // of pictures [I, S, S, 3] a row of pixels
    if (row.size() == 3) row.erase(row.begin());
    const size_t step = tensorBytes(typeName(one.type), row);
    const auto* from = static_cast<const uint8_t*>(one.memory);
    moved.emplace_back(from, from + bytes);
    std::memmove(moved.back().data(), from + step, bytes - step);
    one.memory = moved.back().data();
  }
}

class Graph {
 public:
  explicit Graph(const OnnxFile& file) {
    Runtime& all = runtime();
    const onnx::OrtFunctions& ort = all.ort();
    onnx::OrtSessionOptions* options = nullptr;
    all.api.check(ort.createSessionOptions(&options));
    const onnx::Owned<onnx::OrtSessionOptions> owned(options, ort.releaseSessionOptions);
    all.api.check(ort.setSessionLogSeverityLevel(options, kLogFatal));
    all.api.check(ort.setSessionGraphOptimizationLevel(options, kAsWritten));
    all.api.check(ort.setIntraOpNumThreads(options, 1));
    all.operators.addTo(options);
    const std::string model = executable(file).encoded();
    onnx::OrtSession* session = nullptr;
    all.api.check(
        ort.createSessionFromArray(all.env, model.data(), model.size(), options, &session));
    session_ = {session, ort.releaseSession};
  }

  /// Writes into `outputs`, or where they have no memory yet fills in their sizes.
  void run(const std::vector<Bound>& inputs, std::vector<Bound>& outputs) const {
    Runtime& all = runtime();
    const onnx::OrtFunctions& ort = all.ort();
    std::vector<onnx::Owned<onnx::OrtValue>> values;
    std::vector<const char*> inputNames, outputNames;
    std::vector<const onnx::OrtValue*> given;
    const auto tensor = [&](const Bound& one) {
      onnx::OrtValue* value = nullptr;
      all.api.check(ort.createTensorWithData(
          all.memory, one.memory, tensorBytes(typeName(one.type), one.dims), one.dims.data(),
          one.dims.size(), static_cast<int>(one.type), &value));
      values.emplace_back(value, ort.releaseValue);
      return value;
    };
    for (const Bound& one : inputs) {
      inputNames.push_back(one.name.c_str());
      given.push_back(tensor(one));
    }
    std::vector<onnx::OrtValue*> made;
    for (const Bound& one : outputs) {
      outputNames.push_back(one.name.c_str());
      made.push_back(one.memory == nullptr ? nullptr : tensor(one));
    }
    all.api.check(ort.run(session_.get(), nullptr, inputNames.data(), given.data(), given.size(),
                          outputNames.data(), made.size(), made.data()));
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].memory != nullptr) continue;
      values.emplace_back(made[i], ort.releaseValue);
      onnx::OrtTensorTypeAndShapeInfo* shape = nullptr;
      all.api.check(ort.getTensorTypeAndShape(made[i], &shape));
      const onnx::Owned<onnx::OrtTensorTypeAndShapeInfo> owned(shape, ort.releaseTypeAndShape);
      size_t rank = 0;
      all.api.check(ort.getDimensionsCount(shape, &rank));
      outputs[i].dims.resize(rank);
      all.api.check(ort.getDimensions(shape, outputs[i].dims.data(), rank));
    }
  }

 private:
  onnx::Owned<onnx::OrtSession> session_;
};

/// What an engine and its contexts share.
struct Plan {
  OnnxFile file;
  Graph graph;
  /// By the sizes of inputs: sizes of outputs.
  std::map<std::string, std::map<std::string, Dims>> sizes;

  explicit Plan(const std::string& bytes) : file(bytes), graph(file) {}
};

class StandInContext final : public Context {
 public:
  StandInContext(FakeDevice& device, std::shared_ptr<Plan> plan)
      : device_(device), plan_(std::move(plan)) {}

  void setInputDims(const std::map<std::string, Dims>& dims) override {
    device_.step("setInputDims");
    given_ = dims;
    std::string key;
    for (const auto& [name, sizes] : dims) key += name + describeDims(sizes);
    auto known = plan_->sizes.find(key);
    if (known == plan_->sizes.end()) known = plan_->sizes.emplace(key, outputSizes()).first;
    outputSizes_ = known->second;
  }
  Dims dims(const std::string& name) const override {
    const auto found = outputSizes_.find(name);
    if (found == outputSizes_.end()) throw Failure(FailureKind::kPlan, "no output " + name);
    return found->second;
  }
  /// So that several contexts need different ones; nothing is computed in it.
  size_t scratchBytes() override {
    size_t bytes = 1000;
    for (const auto& [name, dims] : given_) {
      for (const int64_t size : dims) bytes += 16 * static_cast<size_t>(size);
    }
    return bytes;
  }
  void setScratch(void* memory, size_t bytes) override {
    scratch_ = memory;
    scratchBytes_ = bytes;
  }
  void bind(const std::string& tensor, void* memory) override {
    device_.step("bind");
    addresses_[tensor] = memory;
  }

  void enqueue(Stream stream) override {
    device_.step("enqueue");
    // as in a capture: addresses and sizes of this moment
    const std::vector<Bound> inputs = bound(plan_->file.inputs, false);
    const std::vector<Bound> outputs = bound(plan_->file.outputs, true);
    const size_t needed = scratchBytes();
    if (scratch_ == nullptr || scratchBytes_ < needed)
      throw Failure(FailureKind::kDevice, "enqueue: too little scratch memory");
    const auto started = std::chrono::steady_clock::now();
    FakeDevice::enqueue(
        stream, [&device = device_, plan = plan_, inputs, outputs, scratch = scratch_, needed] {
          device.use(scratch, needed, "scratch memory");
          std::memset(scratch, 0xee, needed);
          for (const auto* all : {&inputs, &outputs}) {
            for (const Bound& one : *all)
              device.use(one.memory, tensorBytes(typeName(one.type), one.dims), one.name.c_str());
          }
          std::vector<Bound> read = inputs, written = outputs;
          std::vector<std::vector<uint8_t>> moved;
          makeWrong(device.options().wrong, read, moved);
          try {
            plan->graph.run(read, written);
          } catch (const std::exception& error) {
            throw Failure(FailureKind::kDevice, std::string("ONNX Runtime: ") + error.what());
          }
        });
    if (!watches_) return;
    device_.synchronize(stream);
    const std::chrono::duration<float, std::milli> took =
        std::chrono::steady_clock::now() - started;
    layers_.push_back({"graph", took.count()});
  }
  void watchLayers() override { watches_ = true; }
  std::vector<LayerTime> takeLayers() override { return std::exchange(layers_, {}); }

 private:
  Dims sizesOf(const Value& value) const {
    const auto found = given_.find(value.name);
    Dims dims;
    for (size_t i = 0; i < value.dims.size(); ++i) {
      const int64_t size = value.dims[i].size;
      if (size < 0 && (found == given_.end() || found->second.size() <= i))
        throw Failure(FailureKind::kRequest, "input " + value.name + " is not set");
      dims.push_back(size < 0 ? found->second[i] : size);
    }
    return dims;
  }

  /// TensorRT derives them; here the graph runs once, on zeros, unless the plan states them.
  std::map<std::string, Dims> outputSizes() const {
    std::vector<Bound> inputs, outputs;
    bool isKnown = true;
    for (const Value& one : plan_->file.outputs) {
      outputs.push_back({one.name, one.type, {}, nullptr});
      for (const Dimension& dim : one.dims) {
        isKnown &= dim.size >= 0;
        outputs.back().dims.push_back(dim.size);
      }
    }
    if (!isKnown) {
      size_t largest = 0;
      for (const Value& one : plan_->file.inputs) {
        inputs.push_back({one.name, one.type, sizesOf(one), nullptr});
        largest = std::max(largest, tensorBytes(typeName(one.type), inputs.back().dims));
      }
      std::vector<uint8_t> zeros(largest);
      for (Bound& one : inputs) one.memory = zeros.data();
      plan_->graph.run(inputs, outputs);
    }
    std::map<std::string, Dims> sizes;
    for (const Bound& one : outputs) sizes[one.name] = one.dims;
    return sizes;
  }

  std::vector<Bound> bound(const std::vector<Value>& values, bool isOutput) const {
    std::vector<Bound> all;
    for (const Value& one : values) {
      const auto address = addresses_.find(one.name);
      if (address == addresses_.end())
        throw Failure(FailureKind::kPlan, "no address for " + one.name);
      const Dims sizes = isOutput ? dims(one.name) : sizesOf(one);
      all.push_back({one.name, one.type, sizes, address->second});
    }
    return all;
  }

  FakeDevice& device_;
  std::shared_ptr<Plan> plan_;
  std::map<std::string, Dims> given_;
  std::map<std::string, Dims> outputSizes_;
  std::map<std::string, void*> addresses_;
  void* scratch_ = nullptr;
  size_t scratchBytes_ = 0;
  bool watches_ = false;
  std::vector<LayerTime> layers_;
};

Dims parseNumbers(const std::string& text) {
  Dims all;
  std::istringstream list(text);
  for (std::string one; std::getline(list, one, ',');) all.push_back(std::stoll(one));
  return all;
}

class StandInEngine final : public Engine {
 public:
  StandInEngine(FakeDevice& device, std::shared_ptr<Plan> plan)
      : device_(device),
        plan_(std::move(plan)),
        memory_(device.allocate(4096, MemoryUse::kEngines)) {
    const auto list = [&](const std::vector<Value>& values, bool isInput) {
      for (const Value& one : values) {
        tensors_.push_back({one.name, typeName(one.type), {}, isInput});
        for (const Dimension& dim : one.dims) tensors_.back().dims.push_back(dim.size);
      }
    };
    list(plan_->file.inputs, true);
    list(plan_->file.outputs, false);
  }
  ~StandInEngine() override { device_.release(memory_); }

  const std::vector<TensorInfo>& tensors() const override { return tensors_; }

  std::unique_ptr<Context> createContext(const std::map<std::string, Dims>& dims, Stream) override {
    device_.step("createContext");
    requireProfile(dims);
    return std::make_unique<StandInContext>(device_, plan_);
  }

  std::string describeLayers() override {
    std::string nodes;
    for (const Node& node : plan_->file.nodes) nodes += "[ONNX Layer: " + node.name + "]";
    return R"({"Layers":[{"Name":"graph","LayerType":"standin","Metadata":")" + nodes +
           R"("}],"Bindings":[]})";
  }

 private:
  void requireProfile(const std::map<std::string, Dims>& dims) const {
    std::string allowed;
    for (const auto& [key, ranges] : plan_->file.metadata) {
      const std::string mark = "profile 0 ";
      if (key.compare(0, mark.size(), mark) != 0) continue;
      const auto given = dims.find(key.substr(mark.size()));
      if (given == dims.end()) continue;
      const size_t space = ranges.find(' ');
      const Dims low = parseNumbers(ranges.substr(0, space));
      const Dims high = parseNumbers(ranges.substr(space + 1));
      for (size_t i = 0; i < given->second.size() && i < low.size(); ++i) {
        if (low[i] <= given->second[i] && given->second[i] <= high[i]) continue;
        allowed += " " + given->first + " " + describeDims(low) + " to " + describeDims(high);
      }
    }
    if (allowed.empty()) return;
    throw Failure(FailureKind::kRequest, "the engine was built for other sizes:" + allowed);
  }

  FakeDevice& device_;
  std::shared_ptr<Plan> plan_;
  void* memory_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

std::unique_ptr<Engine> loadEngine(FakeDevice& device, const Blob& plan) {
  device.step("loadEngine");
  try {
    auto read = std::make_shared<Plan>(std::string(plan.data, plan.data + plan.bytes));
    if (read->file.metadata.count("standin") == 0) throw std::runtime_error("not its own plan");
    return std::make_unique<StandInEngine>(device, std::move(read));
  } catch (const std::runtime_error& error) {
    throw Failure(FailureKind::kPlan,
                  std::string("the stand-in did not take the plan: ") + error.what());
  }
}

}  // namespace standin
