#pragma once

namespace semanticvla {

struct BusyWait {
  /// How long the wait took by its own clock: at least what was asked, more if the thread was
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
  /// Reads the counter's frequency from the processor once: in a virtual machine that takes longer
  /// than a short wait.
  BusyClock();

  BusyWait wait(double ms) const;

 private:
  /// Of the hardware counter; 0: the processor reports none.
  double hz_;
};

}  // namespace semanticvla
