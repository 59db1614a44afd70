#pragma once

#include <napi.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace semanticvla::napi {

/// Work that leaves the JS thread and settles a promise when it comes back.
class Job {
 public:
  explicit Job(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  virtual ~Job() = default;
  /// On the queue's thread; must not touch JS. Whatever it throws rejects the promise.
  virtual void work() = 0;
  /// On the JS thread, after `work` returned: the promise's value.
  virtual Napi::Value result(Napi::Env env) = 0;
  /// On the JS thread before the promise settles, also where `work` failed: tells V8 what is held.
  virtual void account() {}

  Napi::Promise::Deferred deferred;
  std::exception_ptr failure;
};

/// One owned thread that runs jobs in order. Not libuv's pool: a busy pool would delay a 1 ms job
/// by hundreds. Keeps the process alive while a job is pending, and not otherwise.
class Queue {
 public:
  explicit Queue(Napi::Env env);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// On the JS thread. The promise settles on the JS thread.
  /// @param owner of this queue; kept alive until the promise has settled, also when JS has dropped
  ///   everything else that holds it
  Napi::Promise submit(std::unique_ptr<Job> job, std::shared_ptr<void> owner = nullptr);

 private:
  static void settle(Napi::Env env, Napi::Function, Queue* queue, Job* job);
  using Bridge = Napi::TypedThreadSafeFunction<Queue, Job, settle>;

  static void onEnvironmentExit(void* queue);
  void loop();
  void stop();

  Napi::Env env_;
  Bridge bridge_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> waiting_;
  bool stopping_ = false;
  /// Jobs submitted and not settled; JS thread only.
  int pending_ = 0;
  /// Of the pending jobs; JS thread only.
  std::shared_ptr<void> owner_;
};

}  // namespace semanticvla::napi
