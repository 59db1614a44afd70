#include <napi.h>

#include <memory>
#include <utility>
#include <vector>

#include "napi/convert.h"
#include "napi/queue.h"
#include "napi/settle.h"
#include "reference/preprocessor.h"

namespace semanticvla {

namespace {

/// `preprocessImages`: frames, copied, to policy images.
class PreprocessJob : public napi::Job {
 public:
  PreprocessJob(Napi::Env env, reference::Preprocessor& preprocessor, std::vector<napi::OwnedFrame> frames,
                const reference::PreprocessOptions& options)
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

/// Everything JavaScript sees of the addon; lib/binding.ts states the same on one screen. One instance an environment,
/// no statics, so worker threads may load it again.
class SemanticVlaAddon : public Napi::Addon<SemanticVlaAddon> {
 public:
  SemanticVlaAddon(Napi::Env, Napi::Object exports) {
    DefineAddon(exports, {
                             InstanceMethod("preprocessImages", &SemanticVlaAddon::preprocessImages),
                         });
  }

 private:
  Napi::Value preprocessImages(const Napi::CallbackInfo& info) {
    if (!queue_) queue_ = std::make_unique<napi::Queue>(info.Env());
    return queue_->submit(std::make_unique<PreprocessJob>(
        info.Env(), preprocessor_, napi::toFrames(info[0]), napi::toPreprocessOptions(info[1])));
  }

  reference::Preprocessor preprocessor_;
  /// Started by the first job. Last member: its thread uses the ones above and ends first.
  std::unique_ptr<napi::Queue> queue_;
};

NODE_API_ADDON(SemanticVlaAddon)

}  // namespace semanticvla
