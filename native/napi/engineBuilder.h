#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "napi/newest.h"
#include "napi/queue.h"
#include "runtime/library.h"

namespace semanticvla::napi {

/// The newest step, and how many there were in all phases.
struct CountedProgress {
  runtime::BuildProgress step;
  int done = 0;
};
Napi::Value fromBuildProgress(Napi::Env env, const CountedProgress& progress);
using BuildReporter = NewestReporter<CountedProgress, fromBuildProgress>;

/// `buildEngine` of the addon: one ONNX model to one plan, on the queue's thread.
class EngineBuildJob final : public Job {
 public:
  /// @param info (request, onProgress); shapes in lib/addon/binding.ts
  explicit EngineBuildJob(const Napi::CallbackInfo& info);
  ~EngineBuildJob() override;

  void work() override;
  Napi::Value result(Napi::Env env) override;

  /// Set from the JS thread; the builder checks it after every step.
  const std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);

 private:
  std::string library_;
  std::string parser_;
  std::string module_;
  runtime::BuildRequest request_;
  runtime::BuildResult result_;
  std::vector<std::string> warnings_;
  std::unique_ptr<BuildReporter> reporter_;
  int steps_ = 0;
};

/// The builds of one environment, one after the other on a thread of their own: each takes seconds
/// to minutes.
class EngineBuilds {
 public:
  explicit EngineBuilds(Napi::Env env);
  EngineBuilds(const EngineBuilds&) = delete;
  EngineBuilds& operator=(const EngineBuilds&) = delete;

  /// `buildEngine` of the addon: { done: Promise, cancel: Function }
  Napi::Value start(const Napi::CallbackInfo& info);
  /// `combineTimingCaches` of the addon: Promise<Uint8Array>
  Napi::Value combineTimingCaches(const Napi::CallbackInfo& info);

 private:
  Queue queue_;
  std::vector<std::weak_ptr<std::atomic<bool>>> running_;
};

/// `inspectTensorRt` of the addon: opens a library and, if a path is given, a module. Synchronous:
/// a few milliseconds.
Napi::Value inspectTensorRt(const Napi::CallbackInfo& info);

}  // namespace semanticvla::napi
