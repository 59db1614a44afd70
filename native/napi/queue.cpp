#include "napi/queue.h"

#include <utility>

#include "napi/settle.h"

namespace semanticvla::napi {

Queue::Queue(Napi::Env env) : env_(env) {
  bridge_ =
      Bridge::New(env, "semanticvla queue", /*maxQueueSize=*/0, /*initialThreadCount=*/1, this);
  bridge_.Unref(env);
  // Cleanup hooks run last in, first out: this one before the bridge's own, so the thread has ended
  // when the bridge goes.
  napi_status status = napi_add_env_cleanup_hook(env, onEnvironmentExit, this);
  if (status != napi_ok) throw Napi::Error::New(env);
  thread_ = std::thread([this] { loop(); });
}

Queue::~Queue() {
  napi_remove_env_cleanup_hook(env_, onEnvironmentExit, this);
  stop();
}

void Queue::onEnvironmentExit(void* data) {
  Queue* queue = static_cast<Queue*>(data);
  queue->stop();
  // Perhaps the last that holds the queue.
  const std::shared_ptr<void> owner = std::move(queue->owner_);
}

void Queue::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  wake_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
    bridge_.Release();
  }
}

Napi::Promise Queue::submit(std::unique_ptr<Job> job, std::shared_ptr<void> owner) {
  Napi::Promise promise = job->deferred.Promise();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(std::move(job));
  }
  wake_.notify_one();
  if (pending_++ == 0) bridge_.Ref(env_);
  owner_ = std::move(owner);
  return promise;
}

void Queue::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    std::unique_ptr<Job> job = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    try {
      job->work();
    } catch (...) {
      job->failure = std::current_exception();
    }
    // Refused only while the environment ends, when nobody awaits the promise.
    Job* crossing = job.release();
    if (bridge_.BlockingCall(crossing) != napi_ok) delete crossing;
    lock.lock();
  }
}

void Queue::settle(Napi::Env env, Napi::Function, Queue* queue, Job* crossing) {
  const std::unique_ptr<Job> job(crossing);
  // Without an environment the bridge only empties its queue: nothing to settle, and `queue` may be
  // gone.
  if (env == nullptr) return;
  Napi::HandleScope scope(env);
  try {
    job->account();
    try {
      if (job->failure) std::rethrow_exception(job->failure);
      job->deferred.Resolve(job->result(env));
    } catch (...) {
      job->deferred.Reject(toJsError(env, std::current_exception()).Value());
    }
  } catch (const Napi::Error&) {
    // A worker being terminated runs no more JS, not even to settle a promise nobody awaits.
  }
  if (--queue->pending_ > 0) return;
  queue->bridge_.Unref(env);
  // Perhaps the last that holds the queue.
  const std::shared_ptr<void> owner = std::move(queue->owner_);
}

}  // namespace semanticvla::napi
