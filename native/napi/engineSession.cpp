#include "napi/engineSession.h"

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "napi/heldMemory.h"
#include "napi/newest.h"
#include "napi/queue.h"
#include "napi/sessionValues.h"
#include "napi/settle.h"
#include "runtime/library.h"
#include "runtime/session.h"

namespace semanticvla::napi {

namespace {

/// The session itself. A pending job keeps it alive.
struct Core {
  std::unique_ptr<runtime::Session> session;
  /// Of the session, after the last job.
  std::atomic<uint64_t> heldBytes{0};

  /// On the session's thread.
  void count() { heldBytes = session == nullptr ? 0 : session->heldBytes(); }
};

/// What the functions of the JS object hold. The queue's thread ends before the session that it
/// works on.
struct Handle : std::enable_shared_from_this<Handle> {
  explicit Handle(Napi::Env env)
      : core(std::make_shared<Core>()),
        held(std::make_shared<HeldMemory>(env)),
        queue(std::make_unique<Queue>(env)) {}

  std::shared_ptr<Core> core;
  std::shared_ptr<HeldMemory> held;
  std::unique_ptr<Queue> queue;
  bool isClosed = false;
};

Napi::Value fromProgress(Napi::Env env, const runtime::UploadProgress& progress) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("done", static_cast<double>(progress.done));
  object.Set("total", static_cast<double>(progress.total));
  return object;
}
using UploadReporter = NewestReporter<runtime::UploadProgress, fromProgress>;

/// A call of the session on its thread.
template <typename Result>
class SessionJob final : public Job {
 public:
  using Work = std::function<Result(runtime::Session&)>;
  using Convert = Napi::Value (*)(Napi::Env, const Result&);
  SessionJob(Napi::Env env, const Handle& handle, Work work, Convert convert)
      : Job(env),
        core_(handle.core),
        held_(handle.held),
        work_(std::move(work)),
        convert_(convert) {}

  void work() override {
    try {
      result_ = work_(*core_->session);
    } catch (...) {
      core_->count();
      throw;
    }
    core_->count();
  }
  void account() override {
    if (const auto held = held_.lock()) held->set(core_->heldBytes);
  }
  Napi::Value result(Napi::Env env) override { return convert_(env, result_); }

 private:
  // destroyed last: the inputs are in the session's memory
  std::shared_ptr<Core> core_;
  /// Weak: it ends on the JS thread, and a job perhaps on the queue's.
  std::weak_ptr<HeldMemory> held_;
  Work work_;
  Convert convert_;
  Result result_{};
};

void requireOpen(Napi::Env env, const Handle& handle) {
  if (handle.isClosed) throw Napi::Error::New(env, "the session is closed");
}

uint64_t toState(const Napi::Value& value) {
  return static_cast<uint64_t>(value.IsNumber() ? value.As<Napi::Number>().Int64Value() : 0);
}

Napi::Value nothing(Napi::Env env, const bool&) { return env.Undefined(); }

Napi::Value fromPrepared(Napi::Env env, const runtime::PreparedState& prepared) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("state", static_cast<double>(prepared.id));
  object.Set("deviceMs", prepared.deviceMs);
  object.Set("layers", fromLayers(env, prepared.layers));
  return object;
}

template <typename Result, typename Work>
Napi::Value submit(Napi::Env env, Handle& handle, Work work,
                   typename SessionJob<Result>::Convert convert) {
  return handle.queue->submit(
      std::make_unique<SessionJob<Result>>(env, handle, std::move(work), convert),
      handle.shared_from_this());
}

Napi::Value prepare(const Napi::CallbackInfo& info, Handle& handle) {
  requireOpen(info.Env(), handle);
  const auto inputs = std::make_shared<std::vector<OwnedTensor>>(toOwnedTensors(info[0]));
  return submit<runtime::PreparedState>(
      info.Env(), handle,
      [inputs](runtime::Session& session) {
        std::vector<runtime::HostTensor> tensors;
        for (const OwnedTensor& input : *inputs) {
          tensors.push_back({input.name, input.dims, input.bytes.data(), input.bytes.size()});
        }
        return session.prepare(tensors);
      },
      fromPrepared);
}

/// Copied inputs, which JS holds until it runs or drops them.
struct StagedCall {
  StagedCall(Napi::Env env, std::shared_ptr<Core> core) : core(std::move(core)), held(env) {}

  // destroyed last: the inputs are in the session's memory
  std::shared_ptr<Core> core;
  HeldMemory held;
  std::shared_ptr<runtime::StepInputs> inputs;

  std::shared_ptr<runtime::StepInputs> take() {
    held.set(0);
    return std::move(inputs);
  }
};

/// A staged call, or null for frames that the device cannot preprocess.
Napi::Value stage(const Napi::CallbackInfo& info, Handle& handle) {
  requireOpen(info.Env(), handle);
  const BorrowedFrames frames = toBorrowedFrames(info[1]);
  runtime::Session& session = *handle.core->session;
  auto call = std::make_unique<StagedCall>(info.Env(), handle.core);
  try {
    if (!frames.pixels.empty() && !session.refusesFrames(frames.request).empty())
      return info.Env().Null();
    call->inputs = std::make_shared<runtime::StepInputs>(
        session.stage(toHostTensors(info[0]), frames.request, frames.pixels));
  } catch (const runtime::Failure&) {
    throw toJsError(info.Env(), std::current_exception());
  }
  call->held.set(call->inputs->staged.ordinaryBytes());
  return Napi::External<StagedCall>::New(info.Env(), call.release(),
                                         [](Napi::Env, StagedCall* dropped) { delete dropped; });
}

StagedCall& toStaged(const Napi::Value& value) {
  if (!value.IsExternal())
    throw Napi::TypeError::New(value.Env(), "expected what stage returned for staged");
  return *value.As<Napi::External<StagedCall>>().Data();
}

Napi::Value run(const Napi::CallbackInfo& info, Handle& handle) {
  requireOpen(info.Env(), handle);
  const uint64_t state = toState(info[0]);
  StagedCall& call = toStaged(info[1]);
  if (call.inputs == nullptr || call.core != handle.core) {
    throw Napi::Error::New(info.Env(),
                           "expected a staged call of this session that did not run yet");
  }
  const bool returnsImages = info[2].ToBoolean().Value();
  const std::shared_ptr<runtime::StepInputs> inputs = call.take();
  return submit<runtime::StepResult>(
      info.Env(), handle,
      [state, inputs, returnsImages](runtime::Session& session) {
        return session.run(state, std::move(*inputs), returnsImages);
      },
      [](Napi::Env env, const runtime::StepResult& result) -> Napi::Value {
        return fromStep(env, result);
      });
}

/// Frees its memory ahead of the garbage collector. Does nothing after the call has run.
Napi::Value drop(const Napi::CallbackInfo& info, Handle&) {
  toStaged(info[0]).take();
  return info.Env().Undefined();
}

Napi::Value release(const Napi::CallbackInfo& info, Handle& handle) {
  if (handle.isClosed) return info.Env().Undefined();
  const uint64_t state = toState(info[0]);
  return submit<bool>(
      info.Env(), handle,
      [state](runtime::Session& session) {
        session.release(state);
        return true;
      },
      nothing);
}

Napi::Value memory(const Napi::CallbackInfo& info, Handle& handle) {
  requireOpen(info.Env(), handle);
  return submit<runtime::MemoryReport>(
      info.Env(), handle, [](runtime::Session& session) { return session.memory(); },
      [](Napi::Env env, const runtime::MemoryReport& report) -> Napi::Value {
        return fromMemory(env, report);
      });
}

Napi::Value layerInfo(const Napi::CallbackInfo& info, Handle& handle) {
  requireOpen(info.Env(), handle);
  return submit<runtime::LayerInfo>(
      info.Env(), handle, [](runtime::Session& session) { return session.layerInfo(); },
      [](Napi::Env env, const runtime::LayerInfo& layers) -> Napi::Value {
        Napi::Object object = Napi::Object::New(env);
        object.Set("prepare", layers.prepare);
        object.Set("step", layers.step);
        object.Set("rounds", layers.rounds);
        return object;
      });
}

Napi::Value kernels(const Napi::CallbackInfo& info, Handle& handle) {
  requireOpen(info.Env(), handle);
  return submit<runtime::SessionKernels>(
      info.Env(), handle, [](runtime::Session& session) { return session.kernels(); },
      [](Napi::Env env, const runtime::SessionKernels& found) -> Napi::Value {
        return fromKernels(env, found);
      });
}

/// Ends the thread once nothing is pending, rather than waiting for garbage collection.
Napi::Value end(const Napi::CallbackInfo& info, Handle& handle) {
  handle.isClosed = true;
  handle.queue.reset();
  return info.Env().Undefined();
}

Napi::Value close(const Napi::CallbackInfo& info, Handle& handle) {
  if (handle.queue == nullptr) throw Napi::Error::New(info.Env(), "the session has ended");
  handle.isClosed = true;
  return submit<bool>(
      info.Env(), handle,
      [](runtime::Session& session) {
        session.close();
        return true;
      },
      nothing);
}

Napi::Object makeSession(Napi::Env env, const std::shared_ptr<Handle>& handle) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("device", fromDevice(env, handle->core->session->device()));
  const auto add = [&](const char* name,
                       Napi::Value (*method)(const Napi::CallbackInfo&, Handle&)) {
    object.Set(
        name,
        Napi::Function::New(
            env, [handle, method](const Napi::CallbackInfo& info) { return method(info, *handle); },
            name));
  };
  add("prepare", prepare);
  add("stage", stage);
  add("run", run);
  add("drop", drop);
  add("release", release);
  add("memory", memory);
  add("layerInfo", layerInfo);
  add("kernels", kernels);
  add("close", close);
  add("end", end);
  return object;
}

class OpenJob final : public Job {
 public:
  OpenJob(const Napi::CallbackInfo& info, const std::shared_ptr<Handle>& handle)
      : Job(info.Env()), core_(handle->core), handle_(handle) {
    if (!info[0].IsObject())
      throw Napi::TypeError::New(info.Env(), "expected an object for request");
    const Napi::Object request = info[0].As<Napi::Object>();
    library_ = toText(request, "library");
    module_ = toText(request, "module");
    device_ = request.Get("device").ToNumber().Int32Value();
    try {
      request_ = toSessionRequest(request);
    } catch (const runtime::Failure&) {
      throw toJsError(info.Env(), std::current_exception());
    }
    if (!info[1].IsFunction())
      throw Napi::TypeError::New(info.Env(), "expected a function for onProgress");
    reporter_ = std::make_shared<UploadReporter>(info.Env(), info[1].As<Napi::Function>(),
                                                 "semanticvla weights");
    request_.progress = [reporter = reporter_,
                         cancelled = cancelled](const runtime::UploadProgress& progress) {
      reporter->report(progress);
      return !cancelled->load();
    };
  }

  void work() override {
    if (cancelled->load()) throw runtime::Failure(runtime::FailureKind::kCancelled, "cancelled");
    const runtime::OpenedTensorRt opened = runtime::openTensorRt(library_, "", module_);
    const runtime::Module& module = *opened.module;
    runtime::SessionParts parts;
    parts.device = module.openDevice(device_);
    parts.loadEngine = [opened](runtime::Device& device, const runtime::Blob& plan,
                                const std::vector<uint8_t>& kernels) {
      return opened.module->loadEngine(opened.entryPoints, device, plan, kernels);
    };
    if (module.imagePipeline != nullptr) parts.imagePipeline = module.imagePipeline;
    core_->session = std::make_unique<runtime::Session>(std::move(parts), std::move(request_));
    core_->count();
  }

  void account() override {
    if (const auto handle = handle_.lock()) handle->held->set(core_->heldBytes);
  }

  Napi::Value result(Napi::Env env) override { return makeSession(env, handle_.lock()); }

  const std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);

 private:
  std::shared_ptr<Core> core_;
  /// Weak: the handle's queue holds this job, and holds the handle while it is pending.
  std::weak_ptr<Handle> handle_;
  std::string library_;
  std::string module_;
  int device_ = 0;
  std::shared_ptr<UploadReporter> reporter_;
  runtime::SessionRequest request_;
};

}  // namespace

Napi::Value openSession(const Napi::CallbackInfo& info) {
  const auto handle = std::make_shared<Handle>(info.Env());
  auto job = std::make_unique<OpenJob>(info, handle);
  const auto cancelled = job->cancelled;
  Napi::Object opening = Napi::Object::New(info.Env());
  opening.Set("cancel",
              Napi::Function::New(info.Env(), [cancelled, handle](const Napi::CallbackInfo&) {
                cancelled->store(true);
              }));
  opening.Set("end", Napi::Function::New(info.Env(), [handle](const Napi::CallbackInfo& call) {
                return end(call, *handle);
              }));
  opening.Set("done", handle->queue->submit(std::move(job), handle));
  return opening;
}

Napi::Value listDevices(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString()) throw Napi::TypeError::New(env, "expected a string for module");
  try {
    const std::vector<runtime::DeviceInfo> devices =
        runtime::openModule(info[0].As<Napi::String>().Utf8Value()).listDevices();
    Napi::Array array = Napi::Array::New(env, devices.size());
    for (uint32_t i = 0; i < devices.size(); ++i) array.Set(i, fromDevice(env, devices[i]));
    return array;
  } catch (...) {
    throw toJsError(env, std::current_exception());
  }
}

}  // namespace semanticvla::napi
