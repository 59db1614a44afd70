#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "napi/queue.h"
#include "runtime/library.h"

namespace semanticvla::napi {

/// `buildEngine` of the addon: one ONNX model to one plan, on the queue's thread.
class EngineBuildJob final : public Job {
 public:
  /// @param info (request, onProgress); shapes in lib/binding.ts
  explicit EngineBuildJob(const Napi::CallbackInfo& info);
  ~EngineBuildJob() override;

  void work() override;
  Napi::Value result(Napi::Env env) override;

  /// Set from the JS thread; the builder asks for it after every step.
  const std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);

 private:
  class Reporter;

  std::string library_;
  std::string parser_;
  std::string module_;
  runtime::BuildRequest request_;
  runtime::BuildResult result_;
  std::vector<std::string> warnings_;
  std::shared_ptr<Reporter> reporter_;
};

/// `inspectTensorRt` of the addon: opens a library and, if a path is given, a module. Synchronous:
/// a few milliseconds.
Napi::Value inspectTensorRt(const Napi::CallbackInfo& info);

}  // namespace semanticvla::napi
