#include <napi.h>

#include <memory>

#include "napi/engineBuilder.h"

/// Of the addon only `buildEngine`: small enough to be compiled with sanitizers by a test.

class BuildAddon : public Napi::Addon<BuildAddon> {
 public:
  BuildAddon(Napi::Env, Napi::Object exports) {
    DefineAddon(exports, {InstanceMethod("buildEngine", &BuildAddon::buildEngine)});
  }

 private:
  Napi::Value buildEngine(const Napi::CallbackInfo& info) {
    if (!builds_) builds_ = std::make_unique<semanticvla::napi::EngineBuilds>(info.Env());
    return builds_->start(info);
  }
  std::unique_ptr<semanticvla::napi::EngineBuilds> builds_;
};

NODE_API_ADDON(BuildAddon)
