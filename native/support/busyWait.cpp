#include "support/busyWait.h"

#include <time.h>

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace semanticvla {

namespace {

#if defined(__x86_64__)

uint64_t readCounter() {
  unsigned core = 0;
  // waits for what comes before it, unlike rdtsc
  return __rdtscp(&core);
}

/// Frequency in Hz that CPUID reports for an invariant time stamp counter; 0 if it reports none.
double counterHz() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  // leaf 80000007, EDX bit 8: the counter runs at one rate in every power state
  if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || (d & (1U << 8)) == 0) return 0;
  // leaf 15: crystal in Hz (ECX) times EBX / EAX
  if (!__get_cpuid(0x15, &a, &b, &c, &d) || a == 0 || b == 0 || c == 0) return 0;
  return static_cast<double>(c) * b / a;
}

#elif defined(__aarch64__)

uint64_t readCounter() {
  uint64_t ticks = 0;
  asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks) : : "memory");
  return ticks;
}

double counterHz() {
  uint64_t hz = 0;
  asm volatile("mrs %0, cntfrq_el0" : "=r"(hz));
  return static_cast<double>(hz);
}

#else

uint64_t readCounter() { return 0; }
double counterHz() { return 0; }

#endif

double rawMs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

}  // namespace

BusyClock::BusyClock() : hz_(counterHz()) {}

BusyWait BusyClock::wait(double ms) const {
  BusyWait wait;
  if (hz_ > 0) {
    const uint64_t start = readCounter();
    do {
      wait.ms = static_cast<double>(readCounter() - start) * 1e3 / hz_;
    } while (wait.ms < ms);
    wait.clock = "hardware";
    wait.frequencyMHz = hz_ * 1e-6;
    return wait;
  }
  const double start = rawMs();
  do {
    wait.ms = rawMs() - start;
  } while (wait.ms < ms);
  wait.clock = "system";
  return wait;
}

}  // namespace semanticvla
