#include "fakeEngine.h"

#include <cstring>
#include <set>
#include <sstream>
#include <utility>

namespace fake {

namespace {

uint64_t mix(uint64_t hash, const void* data, size_t bytes) {
  const auto* begin = static_cast<const uint8_t*>(data);
  const auto step = [&](uint64_t word) {
    hash = (hash ^ word ^ hash >> 29) * 0x9fb21c651e98df25ULL;
  };
  for (; bytes >= 8; begin += 8, bytes -= 8) {
    uint64_t word;
    std::memcpy(&word, begin, 8);
    step(word);
  }
  for (size_t i = 0; i < bytes; ++i) step(begin[i] + 256U);
  return hash;
}

uint64_t next(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

[[noreturn]] void refuse(const std::string& what) {
  throw Failure(FailureKind::kPlan, "fake plan: " + what);
}

class FakeContext final : public Context {
 public:
  FakeContext(FakeDevice& device, const FakePlan& plan) : device_(device), plan_(plan) {}

  void setInputDims(const std::map<std::string, Dims>& dims) override {
    device_.step("setInputDims");
    given_ = dims;
  }
  Dims dims(const std::string& name) const override {
    for (const FakePlan::Tensor& tensor : plan_.tensors) {
      if (tensor.name == name) return plan_.dims(tensor, given_);
    }
    refuse("no tensor " + name);
  }
  size_t scratchBytes() override {
    if (!plan_.asksForScratch) return 0;
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
    // As in a capture: addresses and sizes of this moment.
    struct Bound {
      FakePlan::Tensor tensor;
      Dims dims;
      uint8_t* memory;
    };
    std::vector<Bound> bound;
    for (const FakePlan::Tensor& tensor : plan_.tensors) {
      const auto found = addresses_.find(tensor.name);
      if (found == addresses_.end()) refuse("no address for " + tensor.name);
      bound.push_back({tensor, plan_.dims(tensor, given_), static_cast<uint8_t*>(found->second)});
    }
    const size_t needed = scratchBytes();
    if (scratch_ == nullptr) throw Failure(FailureKind::kDevice, "no device memory");
    if (scratchBytes_ < needed) refuse("too little scratch memory");
    device_.enqueue(stream, [&device = device_, bound, scratch = scratch_, needed] {
      device.use(scratch, needed, "scratch memory");
      std::memset(scratch, 0xee, needed);
      std::map<std::string, Value> inputs;
      for (const Bound& one : bound) {
        const size_t bytes = tensorBytes(one.tensor.type, one.dims);
        device.use(one.memory, bytes, one.tensor.name.c_str());
        if (one.tensor.isInput) inputs[one.tensor.name] = {one.dims, one.memory, bytes};
      }
      const uint64_t digest = digestOf(inputs);
      for (const Bound& one : bound) {
        if (one.tensor.isInput) continue;
        const std::vector<uint8_t> output = fakeOutput(one.tensor, one.dims, digest);
        std::memcpy(one.memory, output.data(), output.size());
      }
    });
    if (!watches_) return;
    // one layer an output; the real one waits for the device before it reports
    device_.synchronize(stream);
    for (const Bound& one : bound) {
      if (!one.tensor.isInput) layers_.push_back({one.tensor.name, 0.5F});
    }
  }
  bool isCapturable(Stream) const override { return device_.isCapturable(); }
  void watchLayers() override { watches_ = true; }
  std::vector<LayerTime> takeLayers() override { return std::exchange(layers_, {}); }

 private:
  FakeDevice& device_;
  const FakePlan& plan_;
  std::map<std::string, Dims> given_;
  std::map<std::string, void*> addresses_;
  void* scratch_ = nullptr;
  size_t scratchBytes_ = 0;
  bool watches_ = false;
  std::vector<LayerTime> layers_;
};

class FakeEngine final : public Engine {
 public:
  FakeEngine(FakeDevice& device, FakePlan plan, const std::vector<uint8_t>& kernels)
      : device_(device),
        plan_(std::move(plan)),
        memory_(device.allocate(4096, MemoryUse::kEngines)) {
    std::istringstream lines(std::string(kernels.begin(), kernels.end()));
    std::string line;
    if (!kernels.empty() && (!std::getline(lines, line) || line != kKernels))
      refused_ = "not this device's";
    while (refused_.empty() && std::getline(lines, line)) compiled_.insert(line);
    for (const FakePlan::Tensor& tensor : plan_.tensors) {
      tensors_.push_back({tensor.name, tensor.type, {}, tensor.isInput});
      for (const std::string& size : tensor.sizes) {
        const bool isNumber = size.find_first_not_of("0123456789") == std::string::npos;
        tensors_.back().dims.push_back(isNumber ? std::stoll(size) : -1);
      }
    }
  }
  ~FakeEngine() override { device_.release(memory_); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  std::unique_ptr<Context> createContext(const std::map<std::string, Dims>& dims, Stream) override {
    device_.step("createContext");
    std::string sizes;
    for (const auto& [name, one] : dims) sizes += name + describeDims(one);
    if (compiled_.insert(sizes).second) device_.countCompiled();
    return std::make_unique<FakeContext>(device_, plan_);
  }

  std::string describeLayers() override {
    std::string text;
    for (const FakePlan::Tensor& tensor : plan_.tensors) {
      if (tensor.isInput) continue;
      text += (text.empty() ? "" : ",") +
              ("{\"Name\":\"" + tensor.name + "\",\"LayerType\":\"fake\",\"Metadata\":\"\"}");
    }
    return "{\"Layers\":[" + text + "],\"Bindings\":[]}";
  }
  KernelCache kernels() override {
    device_.step("kernels");
    std::string text = std::string(kKernels) + "\n";
    for (const std::string& sizes : compiled_) text += sizes + "\n";
    return {{text.begin(), text.end()}, refused_};
  }

 private:
  static constexpr const char* kKernels = "fake kernels";
  FakeDevice& device_;
  FakePlan plan_;
  void* memory_;
  std::set<std::string> compiled_;
  std::string refused_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

FakePlan FakePlan::parse(const Blob& text) {
  std::istringstream lines(std::string(text.data, text.data + text.bytes));
  std::string line;
  if (!std::getline(lines, line) || line != "fake 1") refuse("not one");
  FakePlan plan;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string kind, sizes;
    Tensor tensor;
    if (line == "scratch 0") {
      plan.asksForScratch = false;
      continue;
    }
    if (!(words >> kind >> tensor.name >> tensor.type) || (kind != "in" && kind != "out"))
      refuse("line " + line);
    words >> sizes;
    tensor.isInput = kind == "in";
    std::istringstream list(sizes);
    for (std::string size; std::getline(list, size, ',');) tensor.sizes.push_back(size);
    plan.tensors.push_back(tensor);
  }
  return plan;
}

Dims FakePlan::dims(const Tensor& tensor, const std::map<std::string, Dims>& given) const {
  Dims dims;
  for (size_t i = 0; i < tensor.sizes.size(); ++i) {
    const std::string& size = tensor.sizes[i];
    const size_t dot = size.rfind('.'), plus = size.rfind('+');
    if (size == "-1") {
      const auto found = given.find(tensor.name);
      if (found == given.end()) refuse("no sizes for " + tensor.name);
      dims.push_back(found->second.at(i));
    } else if (dot == std::string::npos) {
      dims.push_back(std::stoll(size));
    } else {
      const auto found = given.find(size.substr(0, dot));
      if (found == given.end()) refuse("no sizes for " + size);
      const int64_t more = plus == std::string::npos ? 0 : std::stoll(size.substr(plus + 1));
      dims.push_back(found->second.at(std::stoul(size.substr(dot + 1))) + more);
    }
  }
  return dims;
}

uint64_t digestOf(const std::map<std::string, Value>& inputs) {
  uint64_t state = 0xcbf29ce484222325ULL;
  for (const auto& [name, value] : inputs) {
    state = mix(state, name.data(), name.size());
    state = mix(state, value.dims.data(), value.dims.size() * sizeof(int64_t));
    state = mix(state, value.data, value.bytes);
  }
  return state;
}

std::vector<uint8_t> fakeOutput(const FakePlan::Tensor& output, const Dims& dims, uint64_t digest) {
  uint64_t state = mix(digest, output.name.data(), output.name.size());
  std::vector<uint8_t> bytes(tensorBytes(output.type, dims));
  const size_t element = typeBytes(output.type);
  for (size_t i = 0; i < bytes.size() / element; ++i) {
    const uint64_t random = next(state);
    uint8_t* at = bytes.data() + i * element;
    if (output.type == "float32") {
      const float value =
          static_cast<float>(static_cast<double>(random >> 11) / 9007199254740992.0 * 2 - 1);
      std::memcpy(at, &value, sizeof value);
    } else if (output.type == "int64") {
      const auto value = static_cast<int64_t>(random % 256);
      std::memcpy(at, &value, sizeof value);
    } else {
      std::memcpy(at, &random, element);
    }
  }
  return bytes;
}

std::unique_ptr<Engine> loadFakeEngine(FakeDevice& device, const Blob& plan,
                                       const std::vector<uint8_t>& kernels) {
  device.step("loadEngine");
  return std::make_unique<FakeEngine>(device, FakePlan::parse(plan), kernels);
}

}  // namespace fake
