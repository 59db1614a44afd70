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
  NewestReporter(Napi::Env env, const Napi::Function& callback, const char* name) : state_(new State()) {
    bridge_ = Bridge::New(env, callback, name, 0, 1, state_, finalize);
    bridge_.Unref(env);
  }
  /// Calls that are on their way still arrive; the state ends behind the last of them.
  ~NewestReporter() { bridge_.Release(); }
  NewestReporter(const NewestReporter&) = delete;
  NewestReporter& operator=(const NewestReporter&) = delete;

  void report(const Report& report) {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->newest = report;
    if (!state_->isOnItsWay) state_->isOnItsWay = bridge_.NonBlockingCall() == napi_ok;
  }

 private:
  struct State {
    std::mutex mutex;
    Report newest{};
    bool isOnItsWay = false;
  };
  static void finalize(Napi::Env, void*, State* state) { delete state; }
  static void call(Napi::Env env, Napi::Function callback, State* state, void*) {
    // Without an environment the bridge only empties its queue.
    if (env == nullptr) return;
    Report report;
    {
      const std::lock_guard<std::mutex> lock(state->mutex);
      state->isOnItsWay = false;
      report = state->newest;
    }
    Napi::HandleScope scope(env);
    callback.Call({Convert(env, report)});
  }
  using Bridge = Napi::TypedThreadSafeFunction<State, void, call>;

  State* state_;
  Bridge bridge_;
};

}  // namespace semanticvla::napi
