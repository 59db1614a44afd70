#include <set>
#include <sstream>
#include <thread>

#include "environment.h"
#include "fakeEngine.h"
#include "reference/preprocessor.h"
#include "runtime/module.h"

/// A TensorRT module without TensorRT and without a GPU, for the tests that go through the addon.

namespace {

using namespace fake;

std::unique_ptr<Engine> loadEngine(const EntryPoints&, Device& device, const Blob& plan,
                                   const std::vector<uint8_t>& kernels) {
  return loadFakeEngine(static_cast<FakeDevice&>(device), plan, kernels);
}

/// The CPU's preprocessing at the place of the kernels, which must give its bits.
class ReferencePipeline final : public ImagePipeline {
 public:
  explicit ReferencePipeline(const ImagePipelineRequest& request) : request_(request) {
    if (request.imageSide != kSide)
      throw Failure(FailureKind::kRequest, "frames: expected a policy of 224 px");
    for (const FrameSize& frame : request.frames) {
      if (frame.width > kMost)
        throw Failure(FailureKind::kRequest, "frames: expected narrower ones");
    }
  }
  const std::vector<uint8_t>& tables() const override { return tables_; }
  size_t workspaceBytes() const override { return 16; }
  size_t imageBytes() const override { return request_.frames.size() * kSide * kSide * 3; }
  void enqueue(const std::vector<const uint8_t*>& frames, const uint8_t*, uint8_t*, uint8_t* images,
               Stream stream) override {
    FakeDevice::enqueue(stream, [request = request_, frames, images] {
      std::vector<semanticvla::reference::Frame> views;
      for (size_t i = 0; i < frames.size(); ++i) {
        views.push_back(
            {frames[i], request.frames[i].width, request.frames[i].height, request.frames[i].bgr});
      }
      semanticvla::reference::PreprocessOptions options;
      options.imageSize = kSide;
      options.jpeg = request.jpeg;
      options.centerCrop = request.centerCrop;
      semanticvla::reference::Preprocessor preprocessor;
      semanticvla::reference::Preprocessed made;
      preprocessor.run(views, options, made);
      std::copy(made.images.begin(), made.images.end(), images);
    });
  }

 private:
  static constexpr int kSide = 224;
  /// Wider frames are left to the CPU.
  static constexpr int kMost = 1000;
  ImagePipelineRequest request_;
  std::vector<uint8_t> tables_{1};
};

std::unique_ptr<ImagePipeline> imagePipeline(const ImagePipelineRequest& request) {
  return std::make_unique<ReferencePipeline>(request);
}

/// A timing cache is text: `fake timings`, then a line for each model that was measured.
constexpr const char* kTimings = "fake timings";

std::set<std::string> timingsOf(const std::vector<uint8_t>& cache) {
  std::istringstream lines(std::string(cache.begin(), cache.end()));
  std::set<std::string> timings;
  std::string line;
  if (!std::getline(lines, line) || line != kTimings) return {};
  while (std::getline(lines, line)) timings.insert(line);
  return timings;
}

std::vector<uint8_t> timingCacheOf(const std::set<std::string>& timings) {
  std::string text = std::string(kTimings) + "\n";
  for (const std::string& line : timings) text += line + "\n";
  return {text.begin(), text.end()};
}

/// The model is text: `fake model`, then `steps N`, how many steps of progress it takes. The plan
/// is the model again.
BuildResult build(const EntryPoints&, const BuildRequest& request) {
  std::istringstream words(std::string(request.model.begin(), request.model.end()));
  std::string first, second, name;
  int steps = 0;
  if (!(words >> first >> second >> name >> steps) || first + second + name != "fakemodelsteps") {
    throw std::runtime_error("fake model: not one");
  }
  BuildResult result;
  // as TensorRT does: not on the thread that builds
  std::thread([&] {
    for (int step = 1; step <= steps && !result.isCancelled; ++step) {
      result.isCancelled =
          request.progress && !request.progress({"Building engine", "", step, steps});
    }
  }).join();
  if (result.isCancelled) return result;
  result.plan = Blob::of(request.model);
  std::set<std::string> timings = timingsOf(request.timingCache);
  if (timings.empty() && !request.timingCache.empty())
    result.timingCacheRefused = "TensorRT does not take it: not one";
  timings.insert(std::string(request.model.begin(), request.model.end()));
  result.timingCache = timingCacheOf(timings);
  return result;
}

std::vector<uint8_t> combine(const EntryPoints&, const std::vector<uint8_t>& first,
                             const std::vector<uint8_t>& second) {
  std::set<std::string> all = timingsOf(first);
  all.merge(timingsOf(second));
  return timingCacheOf(all);
}

std::vector<DeviceInfo> listAll() { return listDevices({}); }

std::unique_ptr<Device> openOne(int) { return openDevice({}); }

const Module kModule{kModuleAbi, "trt10", {10, 3, 0, 0}, true,       build,
                     combine,    listAll, openOne,       loadEngine, imagePipeline};

}  // namespace

extern "C" __attribute__((visibility("default"))) const Module* semanticvlaTensorRtModule() {
  return &kModule;
}
