#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace semanticvla {

/// A few threads that share one loop at a time. The caller is a member too, so a team of one has no
/// thread of its own and a loop on it is a plain loop. Not for concurrent callers.
class Team {
 public:
  /// `size` >= 1 members, the caller included.
  explicit Team(int size);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(helpers_.size()) + 1; }

  /// Runs `task(0..count-1)`, each once, on any member, and returns when all are done. The first
  /// exception of a task is rethrown here; tasks not yet started are then skipped.
  void run(int count, const std::function<void(int)>& task);

  /// Splits rows [0, rows) into contiguous ranges and runs `task(begin, end)` on each. Ranges start
  /// at multiples of `grain`.
  void runRows(int rows, int grain, const std::function<void(int, int)>& task);

 private:
  void helperLoop();
  void drain();

  std::vector<std::thread> helpers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  const std::function<void(int)>* task_ = nullptr;
  int count_ = 0;
  std::atomic<int> next_{0};
  int busy_ = 0;
  unsigned long generation_ = 0;
  bool stop_ = false;
  std::exception_ptr failure_;
};

}  // namespace semanticvla
