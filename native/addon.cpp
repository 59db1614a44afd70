#include <napi.h>

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "napi/convert.h"
#include "napi/cpuRuntime.h"
#include "napi/engineBuilder.h"
#include "napi/engineSession.h"
#include "napi/fileLock.h"
#include "napi/queue.h"
#include "reference/jpegRoundTrip.h"
#include "reference/lanczosResize.h"
#include "reference/normalizePixels.h"
#include "reference/pillowBicubic.h"
#include "reference/preprocessor.h"
#include "support/base64.h"
#include "support/busyWait.h"
#include "support/lowRank.h"
#include "support/quantizeRows.h"
#include "support/team.h"
#include "support/trimHeap.h"

namespace semanticvla {

namespace {

/// Memory of one `preprocessImages` call, kept for the next one: fresh pages cost half as much as
/// the arithmetic.
struct PreprocessBuffers {
  std::vector<napi::OwnedFrame> frames;
  reference::Preprocessed output;

  size_t bytes() const {
    size_t total = output.images.capacity();
    for (const napi::OwnedFrame& frame : frames) total += frame.pixels.capacity();
    return total;
  }
};

/// Buffers of finished calls; JS thread only.
class BufferPool {
 public:
  std::unique_ptr<PreprocessBuffers> take() {
    if (free_.empty()) return std::make_unique<PreprocessBuffers>();
    std::unique_ptr<PreprocessBuffers> buffers = std::move(free_.back());
    free_.pop_back();
    return buffers;
  }

  void give(std::unique_ptr<PreprocessBuffers> buffers) {
    if (free_.size() < kMaxFree && buffers->bytes() <= kMaxBytes)
      free_.push_back(std::move(buffers));
  }

 private:
  /// Enough for overlapping calls. Buffers of unusually large frames are freed.
  static constexpr size_t kMaxFree = 2;
  static constexpr size_t kMaxBytes = size_t{16} << 20;

  std::vector<std::unique_ptr<PreprocessBuffers>> free_;
};

/// `preprocessImages`: frames, copied, to policy images.
class PreprocessJob : public napi::Job {
 public:
  PreprocessJob(Napi::Env env, reference::Preprocessor& preprocessor, BufferPool& pool,
                const Napi::Value& frames, const Napi::Value& options)
      : Job(env), preprocessor_(preprocessor), pool_(pool), buffers_(pool.take()) {
    options_ = napi::toPreprocessOptions(options);
    keepSteps_ = napi::toBool(options, "keepSteps");
    napi::toFrames(frames, buffers_->frames);
  }

  void work() override {
    std::vector<reference::Frame> views;
    for (const napi::OwnedFrame& frame : buffers_->frames) {
      views.push_back({frame.pixels.data(), frame.width, frame.height, frame.bgr});
    }
    preprocessor_.run(views, options_, buffers_->output);
  }

  Napi::Value result(Napi::Env env) override {
    const reference::Preprocessed& output = buffers_->output;
    Napi::Object object = Napi::Object::New(env);
    object.Set("images", napi::fromBytes(env, output.images.data(), output.images.size()));
    if (keepSteps_) {
      Napi::Array resized = Napi::Array::New(env, output.resized.size());
      for (uint32_t i = 0; i < output.resized.size(); ++i) {
        const std::vector<uint8_t>& image = output.resized[i];
        resized.Set(i,
                    image.empty() ? env.Null() : napi::fromBytes(env, image.data(), image.size()));
      }
      object.Set("resized", resized);
    }
    Napi::Object times = Napi::Object::New(env);
    times.Set("decode", output.times.decode);
    times.Set("resize", output.times.resize);
    times.Set("crop", output.times.crop);
    object.Set("times", times);
    pool_.give(std::move(buffers_));
    return object;
  }

 private:
  reference::Preprocessor& preprocessor_;
  BufferPool& pool_;
  std::unique_ptr<PreprocessBuffers> buffers_;
  reference::PreprocessOptions options_;
  bool keepSteps_ = false;
};

}  // namespace

/// Everything JavaScript sees of the addon; lib/addon/binding.ts declares the same on one screen.
/// One instance per environment and no statics, so worker threads can load it again.
class SemanticVlaAddon : public Napi::Addon<SemanticVlaAddon> {
 public:
  SemanticVlaAddon(Napi::Env, Napi::Object exports) {
    DefineAddon(exports,
                {
                    InstanceMethod("preprocessImages", &SemanticVlaAddon::preprocessImages),
                    InstanceMethod("inspectTensorRt", &SemanticVlaAddon::inspectTensorRt),
                    InstanceMethod("buildEngine", &SemanticVlaAddon::buildEngine),
                    InstanceMethod("combineTimingCaches", &SemanticVlaAddon::combineTimingCaches),
                    InstanceMethod("listDevices", &SemanticVlaAddon::listDevices),
                    InstanceMethod("openSession", &SemanticVlaAddon::openSession),
                    InstanceMethod("openCpuRuntime", &SemanticVlaAddon::openCpuRuntime),
                    InstanceMethod("tryLock", &SemanticVlaAddon::tryLock),
                    InstanceMethod("decodeBase64", &SemanticVlaAddon::decodeBase64),
                    InstanceMethod("addLowRank", &SemanticVlaAddon::addLowRank),
                    InstanceMethod("foldRows", &SemanticVlaAddon::foldRows),
                    InstanceMethod("quantizeRows", &SemanticVlaAddon::quantizeRows),
                    InstanceMethod("busyWait", &SemanticVlaAddon::busyWait),
                    InstanceMethod("trimHeap", &SemanticVlaAddon::trimHeap),
                    InstanceMethod("jpegRoundTrip", &SemanticVlaAddon::jpegRoundTrip),
                    InstanceMethod("lanczosResize", &SemanticVlaAddon::lanczosResize),
                    InstanceMethod("normalizePixels", &SemanticVlaAddon::normalizePixels),
                    InstanceMethod("pillowBicubic", &SemanticVlaAddon::pillowBicubic),
                });
  }

 private:
  Napi::Value preprocessImages(const Napi::CallbackInfo& info) {
    if (!queue_) queue_ = std::make_unique<napi::Queue>(info.Env());
    return queue_->submit(
        std::make_unique<PreprocessJob>(info.Env(), preprocessor_, pool_, info[0], info[1]));
  }

  /// Single steps, on the JS thread: to check each against a reference. Predictions do not come
  /// through here.
  Napi::Value jpegRoundTrip(const Napi::CallbackInfo& info) {
    const napi::ImageView image = napi::toImage(info, 0);
    std::vector<uint8_t> out(image.bytes());
    reference::JpegWorkspace work;
    Team alone(1);
    reference::jpegRoundTrip(image.pixels, image.width, image.height, work, alone, out.data());
    return napi::fromBytes(info.Env(), out.data(), out.size());
  }

  Napi::Value lanczosResize(const Napi::CallbackInfo& info) {
    const napi::ImageView image = napi::toImage(info, 0);
    const int width = napi::toSide(info[3], "outWidth");
    const int height = napi::toSide(info[4], "outHeight");
    std::vector<uint8_t> out(static_cast<size_t>(width) * height * 3);
    Team alone(1);
    reference::lanczosResize(image.pixels, reference::lanczosAxis(image.height, height),
                             reference::lanczosAxis(image.width, width), alone, out.data());
    return napi::fromBytes(info.Env(), out.data(), out.size());
  }

  Napi::Value pillowBicubic(const Napi::CallbackInfo& info) {
    const napi::ImageView image = napi::toImage(info, 0);
    const int width = napi::toSide(info[3], "outWidth");
    const int height = napi::toSide(info[4], "outHeight");
    std::vector<uint8_t> out(static_cast<size_t>(width) * height * 3);
    reference::pillowBicubic(image.pixels, image.width, image.height, width, height, out.data());
    return napi::fromBytes(info.Env(), out.data(), out.size());
  }

  Napi::Value normalizePixels(const Napi::CallbackInfo& info) {
    const int count = napi::toInt(info[1], "count", 0, napi::kMaxImages);
    const size_t side = napi::toSide(info[2], "imageSize");
    const size_t values = count * side * side * 3;
    const uint8_t* images = napi::toBytes(info[0], "images", values);
    const std::array<float, 3> mean = napi::toChannels(info[3], "mean");
    const std::array<float, 3> std = napi::toChannels(info[4], "std");
    Napi::Float32Array out = Napi::Float32Array::New(info.Env(), values);
    reference::normalizePixels(images, count, side * side, mean, std, out.Data());
    return out;
  }

  Napi::Value inspectTensorRt(const Napi::CallbackInfo& info) {
    return napi::inspectTensorRt(info);
  }

  Napi::Value listDevices(const Napi::CallbackInfo& info) { return napi::listDevices(info); }
  Napi::Value openSession(const Napi::CallbackInfo& info) { return napi::openSession(info); }
  Napi::Value openCpuRuntime(const Napi::CallbackInfo& info) { return napi::openCpuRuntime(info); }
  Napi::Value tryLock(const Napi::CallbackInfo& info) { return napi::tryLock(info); }

  Napi::Value decodeBase64(const Napi::CallbackInfo& info) {
    const napi::BytesView text = napi::toWritableBytes(info[0], "text");
    const int64_t bytes = semanticvla::decodeBase64(text.data, text.length);
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  }

  /// On the JS thread: callers pass a few MB at a time, which takes milliseconds.
  Napi::Value addLowRank(const Napi::CallbackInfo& info) {
    const napi::FloatsView weights = napi::toWritableFloats(info[0], "weights");
    const napi::FloatsView a = napi::toWritableFloats(info[1], "a");
    const napi::FloatsView b = napi::toWritableFloats(info[2], "b");
    const size_t rank = napi::toInt(info[3], "rank", 1, 1 << 16);
    const size_t rows = b.length / rank, columns = a.length / rank;
    if (a.length != columns * rank || b.length != rows * rank || weights.length != rows * columns) {
      throw Napi::RangeError::New(
          info.Env(), "expected weights [rows, columns], a [rank, columns] and b [rows, rank]");
    }
    const bool isFinite =
        semanticvla::addLowRank(weights.data, rows, columns, a.data, b.data, rank);
    return Napi::Boolean::New(info.Env(), isFinite);
  }

  /// On the JS thread: callers pass a few MB at a time, which takes milliseconds.
  Napi::Value quantizeRows(const Napi::CallbackInfo& info) {
    const napi::FloatsView weights = napi::toWritableFloats(info[0], "weights");
    const size_t block = napi::toInt(info[1], "block", 1, 64);
    const napi::BytesView levels = napi::toWritableBytes(info[2], "levels");
    const napi::FloatsView scales = napi::toWritableFloats(info[3], "scales");
    const size_t firstRow = napi::toInt(info[4], "firstRow", 0, 1 << 30);
    const size_t rows = napi::toInt(info[5], "rows", 1, 1 << 30);
    const bool byRow = info[6].ToBoolean();
    const bool isE4m3 = info[7].IsString() && info[7].As<Napi::String>().Utf8Value() == "float8";
    const size_t columns = weights.length / rows;
    if (columns == 0 || weights.length != rows * columns || (block & (block - 1)) != 0 ||
        columns % block != 0 || firstRow + rows > scales.length ||
        levels.length != scales.length * columns) {
      throw Napi::RangeError::New(info.Env(),
                                  "expected weights [rows, columns], a block of a power of two "
                                  "that divides columns, levels of columns times all rows and "
                                  "scales [all rows] with room for rows from firstRow on");
    }
    const size_t columnStride = byRow ? 1 : scales.length;
    const size_t rowStride = byRow ? columns : 1;
    const bool isFinite = semanticvla::quantizeRows(
        weights.data, rows, columns, block, isE4m3 ? LevelFormat::kE4m3 : LevelFormat::kInt8,
        levels.data + firstRow * rowStride, columnStride, rowStride, scales.data + firstRow);
    return Napi::Boolean::New(info.Env(), isFinite);
  }

  /// On the JS thread, likewise.
  void foldRows(const Napi::CallbackInfo& info) {
    const napi::FloatsView weights = napi::toWritableFloats(info[0], "weights");
    const size_t rows = napi::toInt(info[1], "rows", 1, 1 << 30);
    const size_t rowBlock = napi::toInt(info[3], "rowBlock", 1, 64);
    const size_t columns = weights.length / rows;
    const napi::FloatsView gamma =
        info[2].IsNull() ? napi::FloatsView{} : napi::toWritableFloats(info[2], "gamma");
    if (columns == 0 || weights.length != rows * columns || (rowBlock & (rowBlock - 1)) != 0 ||
        rows % rowBlock != 0 || (!info[2].IsNull() && gamma.length != columns)) {
      throw Napi::RangeError::New(info.Env(),
                                  "expected weights [rows, columns], gamma [columns] and a "
                                  "rowBlock of a power of two that divides rows");
    }
    semanticvla::foldRows(weights.data, rows, columns, info[2].IsNull() ? nullptr : gamma.data,
                          rowBlock);
  }

  /// On the JS thread, whose clock is the one under test.
  Napi::Value busyWait(const Napi::CallbackInfo& info) {
    const int microseconds = napi::toInt(info[0], "microseconds", 0, 1000000);
    const BusyWait wait = busyClock_.wait(microseconds * 1e-3);
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("ms", wait.ms);
    object.Set("clock", wait.clock);
    object.Set("frequencyMHz", wait.frequencyMHz);
    return object;
  }

  Napi::Value trimHeap(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), semanticvla::trimHeap());
  }

  napi::EngineBuilds& builds(Napi::Env env) {
    if (!builds_) builds_ = std::make_unique<napi::EngineBuilds>(env);
    return *builds_;
  }
  Napi::Value buildEngine(const Napi::CallbackInfo& info) { return builds(info.Env()).start(info); }
  Napi::Value combineTimingCaches(const Napi::CallbackInfo& info) {
    return builds(info.Env()).combineTimingCaches(info);
  }

  reference::Preprocessor preprocessor_;
  BufferPool pool_;
  BusyClock busyClock_;
  /// A queue of its own, since a build takes seconds to minutes. Started by the first build.
  std::unique_ptr<napi::EngineBuilds> builds_;
  /// Started by the first job. The last member: its thread uses those above and must end first.
  std::unique_ptr<napi::Queue> queue_;
};

NODE_API_ADDON(SemanticVlaAddon)

}  // namespace semanticvla
