#pragma once

#include <cstddef>
#include <memory>

namespace shim {

/// A stack and where it stands. The switch saves the registers that a call preserves: 10 ns, where
/// ucontext's system call takes a microsecond; other processors than x86-64 and aarch64 use
/// ucontext.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The next resume starts `entry` on an empty stack; what stood there is forgotten, not unwound.
  void prepare(void (*entry)());
  /// Runs the fiber until it calls `yield`. From the scheduler only.
  void resume();
  /// Back to the scheduler. From the running fiber only.
  static void yield();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace shim
