#include "support/team.h"

#include <algorithm>
#include <utility>

namespace semanticvla {

Team::Team(int size) {
  helpers_.reserve(static_cast<size_t>(std::max(0, size - 1)));
  try {
    for (int i = 1; i < size; ++i) helpers_.emplace_back([this] { helperLoop(); });
  } catch (...) {
    // The system refused another thread: those already running must end before their handles go.
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& helper : helpers_) helper.join();
    throw;
  }
}

Team::~Team() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Team::run(int count, const std::function<void(int)>& task) {
  if (helpers_.empty() || count <= 1) {
    for (int i = 0; i < count; ++i) task(i);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    task_ = &task;
    count_ = count;
    next_.store(0);
    failure_ = nullptr;
    busy_ = static_cast<int>(helpers_.size());
    ++generation_;
  }
  wake_.notify_all();
  drain();
  std::unique_lock<std::mutex> lock(mutex_);
  idle_.wait(lock, [this] { return busy_ == 0; });
  task_ = nullptr;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Team::runRows(int rows, int grain, const std::function<void(int, int)>& task) {
  if (rows <= 0) return;
  // Two ranges per member even out rows of unequal cost without many hand-overs.
  const int ranges = helpers_.empty() ? 1 : 2 * size();
  const int units = (rows + grain - 1) / grain;
  const int perRange = ((units + ranges - 1) / ranges) * grain;
  run((rows + perRange - 1) / perRange, [&](int index) {
    const int begin = index * perRange;
    task(begin, std::min(rows, begin + perRange));
  });
}

void Team::drain() {
  for (;;) {
    const int index = next_.fetch_add(1);
    if (index >= count_) return;
    try {
      (*task_)(index);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      next_.store(count_);
    }
  }
}

void Team::helperLoop() {
  unsigned long seen = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
    if (stop_) return;
    seen = generation_;
    lock.unlock();
    drain();
    lock.lock();
    if (--busy_ == 0) idle_.notify_one();
  }
}

}  // namespace semanticvla
