#pragma once

#include <napi.h>

#include <memory>
#include <mutex>

namespace semanticvla::napi {

/// Reports from any thread to one JS function, `Convert` making the argument. Thousands a second
/// would flood the event loop: at most one call is on its way, and it carries the newest.
///
/// The reporter and the bridge end at different times: pending calls outlive the reporter, and when
/// the environment ends the bridge goes first. So they share ownership of what both touch.
template <typename Report, Napi::Value (*Convert)(Napi::Env, const Report&)>
class NewestReporter {
 public:
  NewestReporter(Napi::Env env, const Napi::Function& callback, const char* name)
      : state_(std::make_shared<State>()) {
    auto shared = std::make_unique<Shared>(state_);
    state_->bridge = Bridge::New(env, callback, name, 0, 1, shared.get(), finalize);
    state_->isOpen = true;
    // the bridge's from here on; `finalize` ends it
    static_cast<void>(shared.release());
    state_->bridge.Unref(env);
  }
  ~NewestReporter() { state_->leave(); }
  NewestReporter(const NewestReporter&) = delete;
  NewestReporter& operator=(const NewestReporter&) = delete;

  void report(const Report& report) {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->newest = report;
    if (state_->isOpen && !state_->isOnItsWay)
      state_->isOnItsWay = state_->bridge.NonBlockingCall() == napi_ok;
  }

 private:
  struct State;
  using Shared = std::shared_ptr<State>;

  static void finalize(Napi::Env, void*, Shared* shared) {
    (*shared)->leave();
    delete shared;
  }
  static void call(Napi::Env env, Napi::Function callback, Shared* shared, void*) {
    // Without an environment the bridge only empties its queue, and `shared` is gone.
    if (env == nullptr) return;
    Report report;
    {
      State& state = **shared;
      const std::lock_guard<std::mutex> lock(state.mutex);
      state.isOnItsWay = false;
      report = state.newest;
    }
    Napi::HandleScope scope(env);
    callback.Call({Convert(env, report)});
  }
  using Bridge = Napi::TypedThreadSafeFunction<Shared, void, call>;

  struct State {
    std::mutex mutex;
    Report newest{};
    bool isOnItsWay = false;
    /// false: released, and perhaps destroyed.
    bool isOpen = false;
    Bridge bridge;

    void leave() {
      const std::lock_guard<std::mutex> lock(mutex);
      if (isOpen) bridge.Release();
      isOpen = false;
    }
  };

  Shared state_;
};

}  // namespace semanticvla::napi
