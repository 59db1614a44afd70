#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if !(defined(__x86_64__) || defined(__aarch64__)) || defined(SHIM_UCONTEXT)
#define SHIM_USES_UCONTEXT 1
#include <ucontext.h>
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace shim {

namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kGuardBytes = 4096;

void (*startedEntry)() = nullptr;

#ifdef __SANITIZE_ADDRESS__
// The sanitizer keeps an account of each stack; both sides of a switch must tell it.
const void* schedulerStack = nullptr;
size_t schedulerStackBytes = 0;
void* schedulerFake = nullptr;
#endif

void enterFiber();

}  // namespace

#ifndef SHIM_USES_UCONTEXT
extern "C" void shimSwitchStack(void** save, void* load);
#ifdef __aarch64__
// What a called function keeps: frame and return address, x19 to x28, the low halves of v8 to v15.
constexpr size_t kSavedWords = 20;
constexpr size_t kReturnAddress = 1;
asm(R"(
.text
.globl shimSwitchStack
.type shimSwitchStack, @function
shimSwitchStack:
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
.size shimSwitchStack, .-shimSwitchStack
)");
#else
// Six registers and the return address; above it a null one, which also puts the stack where a
// called function expects it (8 past a multiple of 16).
constexpr size_t kSavedWords = 8;
constexpr size_t kReturnAddress = 6;
asm(R"(
.text
.globl shimSwitchStack
.type shimSwitchStack, @function
shimSwitchStack:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size shimSwitchStack, .-shimSwitchStack
)");
#endif
#endif

struct Fiber::Context {
  char* mapped = nullptr;
  char* stack = nullptr;
#ifdef SHIM_USES_UCONTEXT
  ucontext_t at;
#else
  void* at = nullptr;
#endif
#ifdef __SANITIZE_ADDRESS__
  void* fake = nullptr;
#endif
  static Context* running;
#ifdef SHIM_USES_UCONTEXT
  static ucontext_t scheduler;
#else
  static void* scheduler;
#endif
};

Fiber::Context* Fiber::Context::running = nullptr;
#ifdef SHIM_USES_UCONTEXT
ucontext_t Fiber::Context::scheduler;
#else
void* Fiber::Context::scheduler = nullptr;
#endif

namespace {

void enterFiber() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &schedulerStack, &schedulerStackBytes);
#endif
  startedEntry();
  // The entry ends with a yield that is never resumed.
  __builtin_trap();
}

}  // namespace

Fiber::Fiber() : context_(std::make_unique<Context>()) {
  // A page without access below the stack: an overflow ends the program instead of writing
  // elsewhere.
  void* mapped = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapped, kGuardBytes, PROT_NONE);
  context_->mapped = static_cast<char*>(mapped);
  context_->stack = context_->mapped + kGuardBytes;
}

Fiber::~Fiber() { munmap(context_->mapped, kGuardBytes + kStackBytes); }

void Fiber::prepare(void (*entry)()) {
  startedEntry = entry;
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(context_->stack, kStackBytes);
#endif
#ifdef SHIM_USES_UCONTEXT
  getcontext(&context_->at);
  context_->at.uc_stack.ss_sp = context_->stack;
  context_->at.uc_stack.ss_size = kStackBytes;
  context_->at.uc_link = nullptr;
  makecontext(&context_->at, enterFiber, 0);
#else
  // As a switch leaves it, to return into the fiber's entry.
  void** top = reinterpret_cast<void**>(context_->stack + kStackBytes) - kSavedWords;
  for (size_t i = 0; i < kSavedWords; ++i) top[i] = nullptr;
  top[kReturnAddress] = reinterpret_cast<void*>(enterFiber);
  context_->at = top;
#endif
}

void Fiber::resume() {
  Context::running = context_.get();
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&schedulerFake, context_->stack, kStackBytes);
#endif
#ifdef SHIM_USES_UCONTEXT
  swapcontext(&Context::scheduler, &context_->at);
#else
  shimSwitchStack(&Context::scheduler, context_->at);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(schedulerFake, nullptr, nullptr);
#endif
}

void Fiber::yield() {
  Context* self = Context::running;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&self->fake, schedulerStack, schedulerStackBytes);
#endif
#ifdef SHIM_USES_UCONTEXT
  swapcontext(&self->at, &Context::scheduler);
#else
  shimSwitchStack(&self->at, Context::scheduler);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(self->fake, &schedulerStack, &schedulerStackBytes);
#endif
}

}  // namespace shim
