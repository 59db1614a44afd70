#pragma once

namespace semanticvla {

struct BusyWait {
  /// What the wait took by its own clock: at least what was asked, more when the thread was
  /// preempted.
  double ms = 0;
  /// `hardware`: the processor's counter at the frequency that the processor itself states, so that
  /// the operating system's conversion has no part in it. `system`: CLOCK_MONOTONIC_RAW, where the
  /// processor states none.
  const char* clock = "";
  /// Of the hardware counter, 0 with `system`.
  double frequencyMHz = 0;
};

/// Keeps the calling thread busy for a known time.
class BusyClock {
 public:
  /// Asks the processor for its counter's frequency, once: in a virtual machine that takes longer
  /// than many a wait.
  BusyClock();

  BusyWait wait(double ms) const;

 private:
  /// Of the hardware counter; 0: the processor states none.
  double hz_;
};

}  // namespace semanticvla
