/// The real session on a GPU, without TensorRT: driver and primary context beside the kernels' CUDA
/// runtime, upload of weights, capture with external events, replay, scratch memory that grows and
/// captures again, states that are made and released, two sessions in turns.
///
///   sessionHarness [MIB_OF_WEIGHTS=64] [RUNS=300]
///
/// Prints one JSON object a line, the last with `passed`. Exit codes: 0 passed, 1 failed.
/// Compiled with -DSESSION_ON_HOST it runs in host memory through the kernels' stand-in for CUDA,
/// without graphs; its times say nothing then.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "kernelEngine.h"
#include "runtime/kernelPipeline.h"
#include "runtime/session.h"
#ifdef SESSION_ON_HOST
#include "hostDevice.h"
#else
#include "runtime/cudaDevice.h"
#endif

namespace harness {
namespace {

#ifdef SESSION_ON_HOST
constexpr bool kHasGraphs = false;
constexpr int kRounds = 2;
constexpr int kWarmUps = 1;
std::unique_ptr<Device> openDevice() { return std::make_unique<HostDevice>(); }
#else
constexpr bool kHasGraphs = true;
constexpr int kRounds = 6;
constexpr int kWarmUps = 20;
std::unique_ptr<Device> openDevice() { return openCudaDevice(0); }
#endif

/// Rows of the prompts; five, where a session keeps four ready: the oldest is made again.
constexpr int kLengths[] = {12, 40, 20, 90, 30};

using Clock = std::chrono::steady_clock;
double seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

void expect(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(std::string("expected ") + what);
}

uint64_t digest(const StepResult& result) {
  uint64_t hash = 14695981039346656037ULL;
  for (const OutputTensor& output : result.outputs)
    for (const uint8_t byte : output.bytes) hash = (hash ^ byte) * 1099511628211ULL;
  return hash;
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::max(size_t{1}, size_t(std::ceil(share * double(values.size())))) - 1];
}

struct Frame {
  int width, height;
  std::vector<uint8_t> pixels;
  Frame(int width, int height) : width(width), height(height), pixels(size_t(width) * height * 3) {
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = (i * 31 + i / (3 * width)) & 255;
  }
};

/// Random weights in a file, removed again, and the calls of a session with them.
class Harness {
 public:
  explicit Harness(size_t mebibytes) : bulk_(mebibytes << 19) {
    char name[] = "sessionHarness-XXXXXX";
    const int descriptor = mkstemp(name);
    expect(descriptor >= 0, "a folder that can be written");
    file_ = name;
    std::FILE* file = fdopen(descriptor, "wb");
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(kSmallWeights);
    for (float& value : values) value = normal(random);
    bool isWritten = std::fwrite(values.data(), 4, values.size(), file) == values.size();
    const std::vector<uint8_t> block(1 << 20, 1);
    for (size_t i = 0; i < mebibytes; ++i)
      isWritten &= std::fwrite(block.data(), 1, block.size(), file) == block.size();
    isWritten &= std::fclose(file) == 0;
    expect(isWritten, "room for the weights on the disk");
    for (int i = 0; i < 20; ++i) mask_[i] = 1;
  }
  ~Harness() { unlink(file_.c_str()); }
  Harness(const Harness&) = delete;
  Harness& operator=(const Harness&) = delete;

  std::unique_ptr<Session> open(bool graphs) const {
    SessionParts parts;
    parts.device = openDevice();
    parts.imagePipeline = makeKernelPipeline;
    parts.loadEngine = [bulk = bulk_](Device& device, const Blob& plan,
                                      const std::vector<uint8_t>&) {
      return makeKernelEngine(device, plan.data[0] == kStepPlan, bulk);
    };
    return std::make_unique<Session>(std::move(parts), request(graphs));
  }

  static uint64_t prepare(Session& session, int rows) {
    std::vector<int64_t> ids(rows, 3);
    return session
        .prepare({{"ids", {rows}, reinterpret_cast<const uint8_t*>(ids.data()), ids.size() * 8}})
        .id;
  }

  StepResult run(Session& session, uint64_t state, const Frame& frame,
                 bool returnsImages = false) const {
    ImagePipelineRequest images;
    images.frames = {{frame.width, frame.height, false}, {frame.width, frame.height, false}};
    const uint8_t* pixels = frame.pixels.data();
    return session.run(state,
                       session.stage({{"mask", {kTextTokens}, mask_.data(), mask_.size()}}, images,
                                     {pixels, pixels}),
                       returnsImages);
  }

 private:
  static constexpr uint8_t kPreparePlan = 1, kStepPlan = 2;
  static constexpr size_t kSmallWeights =
      kRows * kRow + kImages * kPatches * kWidth + kTextTokens * kWidth + 2 * kWidth;

  SessionRequest request(bool graphs) const {
    uint64_t at = 0;
    const auto weight = [&](const char* name, FloatType type, FloatType stored, Dims dims) {
      uint64_t count = 1;
      for (const int64_t dim : dims) count *= uint64_t(dim);
      const uint64_t bytes = count * (stored == FloatType::kBfloat16 ? 2 : 4);
      WeightBinding binding{name, type, dims, {{file_, at, bytes, stored}}};
      at += bytes;
      return binding;
    };
    constexpr FloatType half = FloatType::kBfloat16, full = FloatType::kFloat32;
    SessionRequest request;
    request.prepare.plan = Blob::of({kPreparePlan});
    request.step.plan = Blob::of({kStepPlan});
    request.prepare.weights = {weight("embed", full, full, {kRows, kRow})};
    request.step.weights = {weight("patches", half, full, {kImages, kPatches, kWidth}),
                            weight("text", half, full, {kTextTokens, kWidth}),
                            weight("gamma", half, full, {kWidth}),
                            weight("beta", half, full, {kWidth})};
    if (bulk_ > 0) request.step.weights.push_back(weight("bulk", half, half, {int64_t(bulk_)}));
    request.imageInput = "images";
    request.usesGraphs = graphs;
    return request;
  }

  size_t bulk_;
  std::string file_;
  std::vector<uint8_t> mask_ = std::vector<uint8_t>(kTextTokens, 0);
};

/// Digests by prompt length, the same in every round and session.
class Expected {
 public:
  void check(int rows, const StepResult& result) {
    const uint64_t found = digest(result);
    expect(digests_.emplace(rows, found).first->second == found,
           "the same bits in every round, with and without graphs");
    for (const OutputTensor& output : result.outputs) {
      if (output.name != "indices") continue;
      const auto* kept = reinterpret_cast<const int64_t*>(output.bytes.data());
      for (int image = 0; image < kImages; ++image)
        for (int i = 1; i < kKept; ++i)
          expect(kept[image * kKept + i] > kept[image * kKept + i - 1], "ascending patches");
    }
  }

 private:
  std::map<int, uint64_t> digests_;
};

void timeRuns(const Harness& harness, Session& session, uint64_t state, const char* what,
              int runs) {
  const Frame frame(256, 256);
  std::vector<double> host, device, h2d, compute, d2h, enqueue, first;
  for (int i = 0; i < runs + kWarmUps; ++i) {
    const auto start = Clock::now();
    const StepResult result = harness.run(session, state, frame);
    const double ms = 1000 * seconds(start);
    if (i < 2) first.push_back(ms);
    if (i < kWarmUps) continue;
    host.push_back(ms);
    device.push_back(result.deviceMs);
    h2d.push_back(result.h2dMs);
    compute.push_back(result.computeMs);
    d2h.push_back(result.d2hMs);
    enqueue.push_back(result.enqueueMs);
    const double parts = result.h2dMs + result.computeMs + result.d2hMs;
    // events tick in half microseconds, four of them
    expect(
        result.computeMs > 0 && std::fabs(parts - result.deviceMs) < 0.05 + 0.02 * result.deviceMs,
        "parts of the device's time that add up to it");
  }
  std::printf(
      "{\"case\": \"%s\", \"runs\": %d, \"hostP50\": %.4f, \"hostP90\": %.4f, \"hostP99\": %.4f, "
      "\"deviceP50\": %.4f, \"h2dP50\": %.4f, \"computeP50\": %.4f, \"d2hP50\": %.4f, "
      "\"enqueueP50\": %.4f, \"firstCalls\": [%.3f, %.3f]}\n",
      what, runs, percentile(host, .5), percentile(host, .9), percentile(host, .99),
      percentile(device, .5), percentile(h2d, .5), percentile(compute, .5), percentile(d2h, .5),
      percentile(enqueue, .5), first[0], first[1]);
}

void oneSession(const Harness& harness, bool graphs, size_t mebibytes, int runs,
                Expected& expected) {
  const char* what = graphs ? "graphs" : "no graphs";
  const auto start = Clock::now();
  const auto session = harness.open(graphs);
  const double opened = seconds(start);
  const DeviceInfo& device = session->device();
  std::printf(
      "{\"case\": \"%s\", \"device\": \"%s\", \"capability\": %d, \"driver\": %d, "
      "\"openSeconds\": %.3f, \"uploadGBs\": %.3f}\n",
      what, device.name.c_str(), device.capability, device.driverVersion, opened,
      double(mebibytes) * 1.048576e-3 / opened);
  std::map<int, uint64_t> states;
  for (const int rows : kLengths) states[rows] = Harness::prepare(*session, rows);
  const Frame large(640, 480);
  for (int round = 0; round < kRounds; ++round)
    for (const auto& [rows, state] : states)
      expected.check(rows, harness.run(*session, state, large));
  const StepResult seen = harness.run(*session, states[12], large, true);
  for (const OutputTensor& output : seen.outputs)
    if (output.name == "seen") expect(output.bytes == seen.images, "the images the device made");
  timeRuns(harness, *session, states[12], what, runs);
  const MemoryReport memory = session->memory();
  std::printf("{\"case\": \"%s\", \"weightBytes\": %llu, \"scratchBytes\": %llu}\n", what,
              static_cast<unsigned long long>(memory.bytes[int(MemoryUse::kWeights)]),
              static_cast<unsigned long long>(memory.bytes[int(MemoryUse::kScratch)]));
  for (const auto& [rows, state] : states) session->release(state);
  session->close();
}

/// Tickets and contexts of two sessions do not mix.
void twoSessions(const Harness& harness, Expected& expected) {
  const Frame large(640, 480);
  const auto first = harness.open(kHasGraphs), second = harness.open(kHasGraphs);
  const uint64_t a = Harness::prepare(*first, 12), b = Harness::prepare(*second, 12);
  for (int i = 0; i < 2 * kRounds; ++i) {
    expected.check(12, harness.run(*first, a, large));
    expected.check(12, harness.run(*second, b, large));
  }
}

/// What the memory of the device gives: bytes read and written by large copies.
void copySpeed() {
  const auto device = openDevice();
  device->makeCurrent();
  const size_t bytes = size_t{kHasGraphs ? 1024 : 16} << 20;
  void* from = device->allocate(bytes, MemoryUse::kScratch);
  void* to = device->allocate(bytes, MemoryUse::kScratch);
  const Stream stream = device->createStream();
  const Event begin = device->createEvent(), end = device->createEvent();
  constexpr int kCopies = 20;
  device->copyOnDevice(to, from, bytes, stream);
  device->record(begin, stream);
  for (int i = 0; i < kCopies; ++i) device->copyOnDevice(to, from, bytes, stream);
  device->record(end, stream);
  device->synchronize(stream);
  const double ms = device->milliseconds(begin, end);
  std::printf("{\"case\": \"copy\", \"deviceCopyGBs\": %.1f}\n",
              2e-6 * kCopies * double(bytes) / ms);
  device->destroy(begin);
  device->destroy(end);
  device->destroy(stream);
  device->release(from);
  device->release(to);
}

void all(size_t mebibytes, int runs) {
  const Harness harness(mebibytes);
  Expected expected;
  oneSession(harness, false, mebibytes, runs, expected);
  if (kHasGraphs) oneSession(harness, true, mebibytes, runs, expected);
  twoSessions(harness, expected);
  copySpeed();
}

}  // namespace
}  // namespace harness

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    harness::all(argc > 1 ? size_t(std::atol(argv[1])) : 64, argc > 2 ? std::atoi(argv[2]) : 300);
    std::printf("{\"passed\": true}\n");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::printf("{\"passed\": false}\n");
    return 1;
  }
}
