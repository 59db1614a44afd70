#pragma once

#include <napi.h>

#include <mutex>
#include <utility>

namespace semanticvla::napi {

/// Reports from any thread to one JS function, `Convert` making the argument. Thousands a second would flood the event loop:
/// at most one call is on its way, and it carries the newest.
template <typename Report, Napi::Value (*Convert)(Napi::Env, const Report&)>
class NewestReporter {
 public:
  NewestReporter(Napi::Env env, const Napi::Function& callback, const char* name) {
    bridge_ = Bridge::New(env, callback, name, 0, 1, this);
    bridge_.Unref(env);
  }
  ~NewestReporter() { bridge_.Release(); }
  NewestReporter(const NewestReporter&) = delete;
  NewestReporter& operator=(const NewestReporter&) = delete;

  void report(const Report& report) {
    const std::lock_guard<std::mutex> lock(mutex_);
    newest_ = report;
    if (!isOnItsWay_) isOnItsWay_ = bridge_.NonBlockingCall() == napi_ok;
  }

 private:
  static void call(Napi::Env env, Napi::Function callback, NewestReporter* reporter, void*) {
    // Without an environment the bridge only empties its queue.
    if (env == nullptr) return;
    Report report;
    {
      const std::lock_guard<std::mutex> lock(reporter->mutex_);
      reporter->isOnItsWay_ = false;
      report = reporter->newest_;
    }
    Napi::HandleScope scope(env);
    callback.Call({Convert(env, report)});
  }
  using Bridge = Napi::TypedThreadSafeFunction<NewestReporter, void, call>;

  Bridge bridge_;
  std::mutex mutex_;
  Report newest_{};
  bool isOnItsWay_ = false;
};

}  // namespace semanticvla::napi
