#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

struct CUstream_st;

namespace shim {

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

/// Those of the fiber that runs.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

/// In which order the threads of a block run between two barriers, and the blocks of a grid. A
/// kernel whose result depends on it has a race.
enum class Order { kForward, kReverse, kRandom };

struct Mode {
  Order order = Order::kForward;
  /// Byte that fills shared memory before each block: 0xff makes NaN of a float, -1 of an integer.
  unsigned char poison = 0xff;
  uint64_t seed = 1;
  /// Blocks under way at the same time; with more than one they take turns, at random, at barriers,
  /// fences and atomics.
  size_t resident = 1;
};
void setMode(const Mode& mode);

/// What went wrong in the last launch that returned an error: a barrier that not all threads reach,
/// a warp operation whose lanes never meet, a write past the dynamic shared memory.
const std::string& lastFault();

/// Switches between fibers so far.
uint64_t switchCount();

/// Runs `body` once for each thread of each block. Returns 0 or a cudaError_t.
int launch(const std::function<void()>& body, dim3 grid, dim3 block, size_t sharedBytes);

/// What a launch does: runs it at once, unless the program has streams and defines another one.
int put(CUstream_st* stream, std::function<int()> launch);

/// Waits until every thread of the block is here, at this `line`.
void blockBarrier(int line);

/// Another block may go on here. The stand-in's memory is always in order, so it can only ask that
/// fences are there: whoever uses an atomic has a fence just before it, and just after it before
/// the block's next barrier. That is stricter than CUDA.
void fence();
/// `atomicInc`: the old value; the counter goes to zero after `last`.
unsigned ticket(unsigned* counter, unsigned last);

int laneOf();

/// Values that the lanes of a warp have put on the table.
class Exchange {
 public:
  Exchange(const uint32_t* values, uint32_t mask) : values_(values), mask_(mask) {}
  /// Faults for a lane that takes no part: on a GPU its value is undefined.
  uint32_t from(int lane) const;

 private:
  const uint32_t* values_;
  uint32_t mask_;
};

/// Waits until all lanes in `mask` are here, at this `line` and with this mask.
Exchange exchange(uint32_t mask, uint32_t value, int line);

}  // namespace shim
