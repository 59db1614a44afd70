#include <napi.h>

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "napi/convert.h"
#include "napi/queue.h"
#include "reference/jpegRoundTrip.h"
#include "reference/lanczosResize.h"
#include "reference/normalizePixels.h"
#include "reference/pillowBicubic.h"
#include "reference/preprocessor.h"
#include "support/team.h"

namespace semanticvla {

namespace {

/// `preprocessImages`: frames, copied, to policy images.
class PreprocessJob : public napi::Job {
 public:
  PreprocessJob(Napi::Env env, reference::Preprocessor& preprocessor,
                std::vector<napi::OwnedFrame> frames, const reference::PreprocessOptions& options)
      : Job(env), preprocessor_(preprocessor), frames_(std::move(frames)), options_(options) {}

  void work() override {
    std::vector<reference::Frame> views;
    for (const napi::OwnedFrame& frame : frames_) {
      views.push_back({frame.pixels.data(), frame.width, frame.height, frame.bgr});
    }
    output_ = preprocessor_.run(views, options_);
  }

  Napi::Value result(Napi::Env env) override {
    Napi::Object object = Napi::Object::New(env);
    object.Set("images", napi::fromBytes(env, output_.images.data(), output_.images.size()));
    Napi::Array resized = Napi::Array::New(env, output_.resized.size());
    for (uint32_t i = 0; i < output_.resized.size(); ++i) {
      const std::vector<uint8_t>& image = output_.resized[i];
      resized.Set(i, image.empty() ? env.Null() : napi::fromBytes(env, image.data(), image.size()));
    }
    object.Set("resized", resized);
    return object;
  }

 private:
  reference::Preprocessor& preprocessor_;
  std::vector<napi::OwnedFrame> frames_;
  reference::PreprocessOptions options_;
  reference::Preprocessed output_;
};

}  // namespace

/// Everything JavaScript sees of the addon; lib/binding.ts states the same on one screen. One
/// instance an environment, no statics, so worker threads may load it again.
class SemanticVlaAddon : public Napi::Addon<SemanticVlaAddon> {
 public:
  SemanticVlaAddon(Napi::Env, Napi::Object exports) {
    DefineAddon(exports,
                {
                    InstanceMethod("preprocessImages", &SemanticVlaAddon::preprocessImages),
                    InstanceMethod("jpegRoundTrip", &SemanticVlaAddon::jpegRoundTrip),
                    InstanceMethod("lanczosResize", &SemanticVlaAddon::lanczosResize),
                    InstanceMethod("normalizePixels", &SemanticVlaAddon::normalizePixels),
                    InstanceMethod("pillowBicubic", &SemanticVlaAddon::pillowBicubic),
                });
  }

 private:
  Napi::Value preprocessImages(const Napi::CallbackInfo& info) {
    if (!queue_) queue_ = std::make_unique<napi::Queue>(info.Env());
    return queue_->submit(std::make_unique<PreprocessJob>(
        info.Env(), preprocessor_, napi::toFrames(info[0]), napi::toPreprocessOptions(info[1])));
  }

  /// Single steps, on the JS thread: for checking one against a reference, not for the path of a
  /// prediction.
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
    reference::lanczosResize(image.pixels, image.width,
                             reference::lanczosAxis(image.height, height),
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

  reference::Preprocessor preprocessor_;
  /// Started by the first job. Last member: its thread uses the ones above and ends first.
  std::unique_ptr<napi::Queue> queue_;
};

NODE_API_ADDON(SemanticVlaAddon)

}  // namespace semanticvla
