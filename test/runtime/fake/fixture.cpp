#include "fixture.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace fake {

namespace {

const char* kPrepare = R"(fake 1
in ids int64 -1
in text int64 8
in embed bfloat16 16,4
in film float16 1,6
out tail bfloat16 ids.0+5,4
out rotary float32 2,ids.0+9,2
out unread float32 3
)";

const char* kStep = R"(fake 1
in images uint8 2,4,4,3
in proprio float32 1,3
in tail bfloat16 -1,4
in rotary float32 2,-1,2
in qkv bfloat16 12,4
in plain float32 1,5
out actions float32 4,7
out kept int64 2,3
)";

constexpr size_t kEmbed = 64, kFilm = 6, kQkv = 48, kPlain = 5;

std::vector<uint8_t> textOf(const char* plan) { return {plan, plan + std::strlen(plan)}; }

/// Turns frames into images by taking their first bytes; the tables must have arrived.
class FakePipeline final : public ImagePipeline {
 public:
  FakePipeline(FakeDevice& device, const ImagePipelineRequest& request)
      : device_(device), request_(request) {}
  const std::vector<uint8_t>& tables() const override { return tables_; }
  size_t workspaceBytes() const override { return 300; }
  size_t imageBytes() const override { return request_.frames.size() * 48; }
  void enqueue(const std::vector<const uint8_t*>& frames, const uint8_t* tables, uint8_t* workspace,
               uint8_t* images, Stream stream) override {
    device_.step("pipeline");
    device_.enqueue(stream, [=] {
      device_.use(tables, 3, "tables");
      device_.use(workspace, 300, "workspace");
      device_.use(images, imageBytes(), "images");
      std::memset(workspace, 1, 300);
      for (size_t i = 0; i < frames.size(); ++i) {
        device_.use(frames[i], 48, "frame");
        for (size_t j = 0; j < 48; ++j)
          images[i * 48 + j] = static_cast<uint8_t>(frames[i][j] + tables[j % 3]);
      }
    });
  }

 private:
  FakeDevice& device_;
  ImagePipelineRequest request_;
  std::vector<uint8_t> tables_{1, 2, 3};
};

}  // namespace

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

Failure failureOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Failure& failure) {
    return failure;
  }
  throw std::runtime_error("expected a failure, found none");
}

SmallPolicy::SmallPolicy() {
  file_ = (std::filesystem::temp_directory_path() / "semanticvla-weights-XXXXXX").string();
  const int fd = mkstemp(file_.data());
  for (size_t i = 0; i < kEmbed + kFilm + kQkv + kPlain; ++i) {
    weights_.push_back(static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 33.0f);
  }
  const auto bytes = static_cast<ssize_t>(weights_.size() * sizeof(float));
  expect(write(fd, weights_.data(), static_cast<size_t>(bytes)) == bytes,
         "the weights to be written");
  close(fd);
}

SmallPolicy::~SmallPolicy() { unlink(file_.c_str()); }

SessionRequest SmallPolicy::request() const {
  const auto part = [&](size_t first, size_t count) {
    return WeightPart{file_, first * sizeof(float), count * sizeof(float), FloatType::kFloat32};
  };
  SessionRequest request;
  request.prepare.plan = Blob::of(textOf(kPrepare));
  request.prepare.weights = {{"embed", FloatType::kBfloat16, {16, 4}, {part(0, kEmbed)}},
                             {"film", FloatType::kFloat16, {1, 6}, {part(kEmbed, kFilm)}}};
  request.step.plan = Blob::of(textOf(kStep));
  // three parts below each other, as q, k and v
  const size_t qkv = kEmbed + kFilm;
  request.step.weights = {{"qkv",
                           FloatType::kBfloat16,
                           {12, 4},
                           {part(qkv, 16), part(qkv + 16, 16), part(qkv + 32, 16)}},
                          {"plain", FloatType::kFloat32, {1, 5}, {part(qkv + kQkv, kPlain)}}};
  request.imageInput = "images";
  request.chunkBytes = 40;
  return request;
}

SessionParts SmallPolicy::parts(const DeviceOptions& options,
                                const std::shared_ptr<DeviceRecord>& record, bool hasPipeline) {
  SessionParts parts;
  auto device = std::make_unique<FakeDevice>(options, record);
  FakeDevice* fake = device.get();
  parts.device = std::move(device);
  parts.loadEngine = [](Device& device, const Blob& plan, const std::vector<uint8_t>& kernels) {
    return loadFakeEngine(static_cast<FakeDevice&>(device), plan, kernels);
  };
  if (hasPipeline) {
    parts.imagePipeline = [fake](const ImagePipelineRequest& request) {
      return std::make_unique<FakePipeline>(*fake, request);
    };
  }
  return parts;
}

std::vector<int64_t> SmallPolicy::ids(int length, int seed) const {
  std::vector<int64_t> ids;
  for (int i = 0; i <= length; ++i) ids.push_back((i * 7 + seed * 13) % 100);
  return ids;
}

std::vector<HostTensor> SmallPolicy::prepareInputs(const std::vector<int64_t>& ids,
                                                   const std::vector<int64_t>& text) {
  return {{"ids",
           {static_cast<int64_t>(ids.size())},
           reinterpret_cast<const uint8_t*>(ids.data()),
           ids.size() * 8},
          {"text",
           {static_cast<int64_t>(text.size())},
           reinterpret_cast<const uint8_t*>(text.data()),
           text.size() * 8}};
}

std::vector<uint8_t> SmallPolicy::images(int seed) const {
  std::vector<uint8_t> images(2 * 4 * 4 * 3);
  for (size_t i = 0; i < images.size(); ++i)
    images[i] = static_cast<uint8_t>(i * 5 + static_cast<size_t>(seed) * 31);
  return images;
}

std::vector<float> SmallPolicy::proprio(int seed) const {
  return {0.1f * static_cast<float>(seed), -0.5f, 1.0f};
}

std::vector<HostTensor> SmallPolicy::stepInputs(const std::vector<uint8_t>& images,
                                                const std::vector<float>& proprio) {
  return {
      {"images", {2, 4, 4, 3}, images.data(), images.size()},
      {"proprio", {1, 3}, reinterpret_cast<const uint8_t*>(proprio.data()), proprio.size() * 4}};
}

std::map<std::string, std::vector<uint8_t>> SmallPolicy::expected(
    const std::vector<int64_t>& ids, const std::vector<uint8_t>& images,
    const std::vector<float>& proprio) const {
  std::map<std::string, std::vector<uint8_t>> made;
  // in blocks, so that addresses stay
  std::map<std::string, std::vector<uint8_t>> weights;
  const SessionRequest request = this->request();
  for (const EnginePlan* plan : {&request.prepare, &request.step}) {
    for (const WeightBinding& binding : plan->weights) {
      std::vector<uint8_t>& bytes = weights[binding.name];
      for (const WeightPart& part : binding.parts) {
        const size_t count = part.bytes / 4, begin = bytes.size();
        bytes.resize(begin + count * bytesOf(binding.type));
        convertFloats(FloatType::kFloat32, weights_.data() + part.offset / 4, binding.type,
                      bytes.data() + begin, count);
      }
    }
  }
  std::map<std::string, HostTensor> given;
  for (const HostTensor& tensor : prepareInputs(ids, text)) given.emplace(tensor.name, tensor);
  for (const HostTensor& tensor : stepInputs(images, proprio)) given.emplace(tensor.name, tensor);
  std::map<std::string, Dims> dims;
  for (const auto& [name, tensor] : given) dims[name] = tensor.dims;
  for (const EnginePlan* plan : {&request.prepare, &request.step}) {
    const FakePlan parsed = FakePlan::parse(plan->plan);
    std::map<std::string, Value> inputs;
    for (const FakePlan::Tensor& tensor : parsed.tensors) {
      if (!tensor.isInput) continue;
      const Dims size = parsed.dims(tensor, dims);
      if (weights.count(tensor.name))
        inputs[tensor.name] = {size, weights[tensor.name].data(), weights[tensor.name].size()};
      else if (made.count(tensor.name))
        inputs[tensor.name] = {size, made[tensor.name].data(), made[tensor.name].size()};
      else
        inputs[tensor.name] = {size, given.at(tensor.name).data, given.at(tensor.name).bytes};
    }
    for (const FakePlan::Tensor& tensor : parsed.tensors) {
      if (tensor.isInput) continue;
      const Dims size = parsed.dims(tensor, dims);
      made[tensor.name] = fakeOutput(tensor, size, digestOf(inputs));
      dims[tensor.name] = size;
    }
  }
  return made;
}

std::map<std::string, std::vector<uint8_t>> outputsOf(const StepResult& result) {
  std::map<std::string, std::vector<uint8_t>> outputs;
  for (const OutputTensor& output : result.outputs) outputs[output.name] = output.bytes;
  return outputs;
}

void expectClean(const DeviceRecord& record, const std::string& when) {
  expect(record.faults.empty(),
         "no fault " + when + ", found: " + (record.faults.empty() ? "" : record.faults.front()));
  expect(record.liveBytes == 0,
         "no device memory left " + when + ", found " + std::to_string(record.liveBytes));
  expect(record.livePinnedBytes == 0,
         "no pinned memory left " + when + ", found " + std::to_string(record.livePinnedBytes));
  expect(record.openRanges.empty(), "no range open " + when);
  expect(record.liveHandles == 0,
         "no handle left " + when + ", found " + std::to_string(record.liveHandles));
}

}  // namespace fake
