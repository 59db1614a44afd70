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

/// Keeps the calling thread busy for `ms` milliseconds.
BusyWait busyWait(double ms);

}  // namespace semanticvla
