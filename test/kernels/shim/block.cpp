#include "block.h"

#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "fiber.h"

/// CUDA's limit without opting in to more.
constexpr size_t kSharedBytes = 48 * 1024;
constexpr size_t kMaxThreads = 1024;

/// One more kilobyte than any launch may ask for: writes past a launch's own size are seen there.
constexpr size_t kPastBytes = 1024;
extern thread_local unsigned char semanticvlaDynamicShared[];
alignas(16) thread_local unsigned char semanticvlaDynamicShared[kSharedBytes + kPastBytes];

namespace shim {

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

enum class State { kReady, kAtBarrier, kAtExchange, kDone };

struct Thread {
  /// Null until the thread has started, and again when it is done.
  Fiber* fiber = nullptr;
  State state = State::kDone;
  dim3 index;
  int line = 0;
  /// A fence was the last thing it did between blocks; an atomic was, and its fence is to come.
  bool isFenced = false;
  bool owesFence = false;
};

/// The table of a warp. Two sides: a lane may already be at the next exchange while another has yet
/// to read the last one.
struct Warp {
  uint32_t values[2][32];
  uint32_t arrived = 0;
  uint32_t mask = 0;
  int line = 0;
  int side = 0;
};

struct Block {
  dim3 index;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  /// Threads in the order of this round, empty between rounds, and where the round stands.
  std::vector<unsigned> order;
  size_t position = 0;
  bool progress = false;
  /// Shared variables while another block runs; empty before the first turn.
  std::vector<unsigned char> shared;
};

struct Machine {
  Mode mode;
  std::string fault;
  uint64_t switches = 0;
  std::mt19937_64 random;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> free;
  const std::function<void()>* body = nullptr;
  /// The block and the thread that run.
  Block* block = nullptr;
  int current = 0;
  /// The running thread lets another block go on.
  bool interrupted = false;
  bool failed = false;
};

Machine machine;

/// Ends the block: the running fiber never returns from here, so nothing on its stack may own
/// memory.
[[noreturn]] void fail(const char* format, int first = 0, int second = 0) {
  if (!machine.failed) {
    machine.failed = true;
    char text[200];
    const int length =
        std::snprintf(text, sizeof(text), "block (%u, %u, %u) thread %d: ", blockIdx.x, blockIdx.y,
                      blockIdx.z, machine.current);
    std::snprintf(text + length, sizeof(text) - length, format, first, second);
    machine.fault = text;
  }
  for (;;) Fiber::yield();
}

/// Makes the thread at the round's position the running one.
Thread& enter() {
  Block& block = *machine.block;
  machine.current = static_cast<int>(block.order[block.position]);
  Thread& thread = block.threads[machine.current];
  threadIdx = thread.index;
  return thread;
}

/// A fiber's life: a thread, and without a switch those after it that have not started, until one
/// waits for others.
void runThreads() {
  Fiber* const own = machine.block->threads[machine.current].fiber;
  for (;;) {
    (*machine.body)();
    Block& block = *machine.block;
    Thread& done = block.threads[machine.current];
    done.state = State::kDone;
    done.fiber = nullptr;
    const size_t next = block.position + 1;
    if (next < block.order.size()) {
      const Thread& after = block.threads[block.order[next]];
      if (after.state == State::kReady && after.fiber == nullptr) {
        block.position = next;
        enter().fiber = own;
        continue;
      }
    }
    machine.free.push_back(own);
    for (;;) Fiber::yield();
  }
}

/// This thread's copies of all shared variables: the thread-local segment of the program or library
/// that holds the kernels.
struct Segment {
  unsigned char* begin = nullptr;
  size_t bytes = 0;
};

Segment sharedSegment() {
  Segment found;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
          auto* begin = static_cast<unsigned char*>(info->dlpi_tls_data);
          const size_t bytes = info->dlpi_phdr[i].p_memsz;
          const std::less_equal<const unsigned char*> isUpTo;
          if (!isUpTo(begin, semanticvlaDynamicShared) ||
              isUpTo(begin + bytes, semanticvlaDynamicShared))
            continue;
          *static_cast<Segment*>(data) = {begin, bytes};
          return 1;
        }
        return 0;
      },
      &found);
  return found;
}

/// All shared variables, but of the dynamic array only what this launch has and what is watched
/// behind it.
struct Shared {
  struct Part {
    unsigned char* begin;
    size_t bytes;
  };
  Part parts[3];

  Shared(const Segment& segment, size_t sharedBytes) {
    unsigned char* const dynamicEnd = semanticvlaDynamicShared + kSharedBytes + kPastBytes;
    parts[0] = {segment.begin, static_cast<size_t>(semanticvlaDynamicShared - segment.begin)};
    parts[1] = {semanticvlaDynamicShared, sharedBytes + kPastBytes};
    parts[2] = {dynamicEnd, static_cast<size_t>(segment.begin + segment.bytes - dynamicEnd)};
  }
  void fill(unsigned char value) const {
    for (const Part& part : parts) std::memset(part.begin, value, part.bytes);
  }
  void save(std::vector<unsigned char>& to) const {
    to.clear();
    for (const Part& part : parts) to.insert(to.end(), part.begin, part.begin + part.bytes);
  }
  void load(const std::vector<unsigned char>& from) const {
    const unsigned char* at = from.data();
    for (const Part& part : parts) {
      std::memcpy(part.begin, at, part.bytes);
      at += part.bytes;
    }
  }
};

std::vector<unsigned> orderOf(size_t count) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (machine.mode.order == Order::kReverse) std::reverse(order.begin(), order.end());
  if (machine.mode.order == Order::kRandom) {
    std::shuffle(order.begin(), order.end(), machine.random);
  }
  return order;
}

/// Everyone waits at a barrier or is done. True when the block goes on.
bool releaseBarrier(Block& block) {
  const size_t count = block.threads.size();
  size_t waiting = 0, done = 0;
  int line = 0;
  for (size_t i = 0; i < count; ++i) {
    const Thread& thread = block.threads[i];
    done += thread.state == State::kDone;
    if (thread.state != State::kAtBarrier) continue;
    machine.current = static_cast<int>(i);
    if (waiting > 0 && thread.line != line) {
      machine.failed = true;
      machine.fault = "threads of a block wait at different barriers: lines " +
                      std::to_string(line) + " and " + std::to_string(thread.line);
      return false;
    }
    line = thread.line;
    ++waiting;
  }
  if (waiting == count) {
    for (size_t i = 0; i < count; ++i) block.threads[i].state = State::kReady;
    return true;
  }
  if (done == count) return false;
  machine.failed = true;
  machine.fault = waiting > 0 ? "barrier at line " + std::to_string(line) + ": " +
                                    std::to_string(waiting) + " of " + std::to_string(count) +
                                    " threads are there and the others will not come"
                              : "a warp operation waits for lanes that will not come";
  return false;
}

std::unique_ptr<Block> makeBlock(dim3 index, size_t count) {
  auto block = std::make_unique<Block>();
  block->index = index;
  block->threads.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const unsigned at = static_cast<unsigned>(i);
    Thread& thread = block->threads[i];
    thread.index = {at % blockDim.x, at / blockDim.x % blockDim.y, at / (blockDim.x * blockDim.y)};
    thread.state = State::kReady;
  }
  block->warps.resize((count + 31) / 32);
  return block;
}

/// Runs a block until all its threads have met at a barrier, or one lets another block go on. False
/// when it has ended or failed.
bool advance(Block& block) {
  machine.block = &block;
  blockIdx = block.index;
  if (block.order.empty()) {
    block.order = orderOf(block.threads.size());
    block.position = 0;
    block.progress = false;
  }
  for (;;) {
    for (; block.position < block.order.size(); ++block.position) {
      if (block.threads[block.order[block.position]].state != State::kReady) continue;
      block.progress = true;
      Thread& thread = enter();
      if (thread.fiber == nullptr) {
        if (machine.free.empty()) {
          machine.fibers.push_back(std::make_unique<Fiber>());
          machine.free.push_back(machine.fibers.back().get());
        }
        thread.fiber = machine.free.back();
        machine.free.pop_back();
        thread.fiber->prepare(runThreads);
      }
      ++machine.switches;
      thread.fiber->resume();
      if (machine.failed) return false;
      if (!machine.interrupted) continue;
      machine.interrupted = false;
      ++block.position;
      return true;
    }
    if (!block.progress) break;
    block.position = 0;
    block.progress = false;
  }
  block.order.clear();
  return releaseBarrier(block);
}

void interrupt() {
  if (machine.mode.resident < 2) return;
  machine.interrupted = true;
  Fiber::yield();
}

Thread& running() { return machine.block->threads[machine.current]; }

}  // namespace

void setMode(const Mode& mode) {
  machine.mode = mode;
  machine.random.seed(mode.seed);
}

const std::string& lastFault() { return machine.fault; }

uint64_t switchCount() { return machine.switches; }

int laneOf() { return machine.current % 32; }

void blockBarrier(int line) {
  Thread& self = running();
  if (self.owesFence) fail("no fence between an atomic and the barrier at line %d", line);
  self.isFenced = false;
  self.line = line;
  self.state = State::kAtBarrier;
  Fiber::yield();
}

void fence() {
  Thread& self = running();
  self.isFenced = true;
  self.owesFence = false;
  interrupt();
}

unsigned ticket(unsigned* counter, unsigned last) {
  Thread& self = running();
  if (!self.isFenced) fail("an atomic without a fence before it");
  interrupt();
  const unsigned old = *counter;
  *counter = old >= last ? 0 : old + 1;
  self.isFenced = false;
  self.owesFence = true;
  interrupt();
  return old;
}

Exchange exchange(uint32_t mask, uint32_t value, int line) {
  const int own = machine.current, lane = own % 32;
  std::vector<Thread>& threads = machine.block->threads;
  Warp& warp = machine.block->warps[own / 32];
  if ((mask >> lane & 1u) == 0) fail("a lane calls a warp operation whose mask leaves it out");
  if (warp.arrived != 0 && (warp.mask != mask || warp.line != line)) {
    fail("lanes of a warp meet at different operations: lines %d and %d", warp.line, line);
  }
  const int side = warp.side;
  warp.mask = mask;
  warp.line = line;
  warp.values[side][lane] = value;
  warp.arrived |= 1u << lane;
  if (warp.arrived == mask) {
    warp.arrived = 0;
    warp.side = 1 - side;
    const size_t first = static_cast<size_t>(own) - lane;
    for (int other = 0; other < 32; ++other) {
      if (other == lane || (mask >> other & 1u) == 0) continue;
      threads[first + other].state = State::kReady;
    }
  } else {
    threads[own].state = State::kAtExchange;
    Fiber::yield();
  }
  return Exchange(warp.values[side], mask);
}

uint32_t Exchange::from(int lane) const {
  if ((mask_ >> lane & 1u) == 0) fail("a lane reads one that takes no part in the operation");
  return values_[lane];
}

int launch(const std::function<void()>& body, dim3 grid, dim3 block, size_t sharedBytes) {
  const size_t count = static_cast<size_t>(block.x) * block.y * block.z;
  if (count < 1 || count > kMaxThreads || sharedBytes > kSharedBytes) return 9;
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535) return 9;
  machine.body = &body;
  machine.failed = false;
  machine.fault.clear();
  // A launch that failed has left threads in the middle: their stacks are used anew.
  machine.free.clear();
  for (const auto& fiber : machine.fibers) machine.free.push_back(fiber.get());
  gridDim = grid;
  blockDim = block;
  const Shared shared(sharedSegment(), sharedBytes);
  const std::vector<unsigned> order = orderOf(static_cast<size_t>(grid.x) * grid.y * grid.z);
  std::vector<std::unique_ptr<Block>> resident;
  Block* loaded = nullptr;
  for (size_t started = 0; started < order.size() || !resident.empty();) {
    while (started < order.size() && resident.size() < std::max<size_t>(machine.mode.resident, 1)) {
      const unsigned at = order[started++];
      const dim3 index = {at % grid.x, at / grid.x % grid.y, at / (grid.x * grid.y)};
      resident.push_back(makeBlock(index, count));
    }
    const size_t turn = resident.size() == 1 ? 0 : machine.random() % resident.size();
    Block& next = *resident[turn];
    if (&next != loaded) {
      if (loaded != nullptr) shared.save(loaded->shared);
      if (next.shared.empty()) {
        shared.fill(machine.mode.poison);
      } else {
        shared.load(next.shared);
      }
      loaded = &next;
    }
    if (advance(next)) continue;
    for (size_t i = 0; i < kPastBytes && !machine.failed; ++i) {
      if (semanticvlaDynamicShared[sharedBytes + i] == machine.mode.poison) continue;
      machine.failed = true;
      machine.fault = "byte " + std::to_string(sharedBytes + i) + " of " +
                      std::to_string(sharedBytes) + " bytes of dynamic shared memory was written";
    }
    if (machine.failed) return 719;
    resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(turn));
    loaded = nullptr;
  }
  return 0;
}

}  // namespace shim
