// The stand-in itself: faulty kernels must be found out, and its conversions must be the
// reference's.

#include <cmath>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"
#include "device.h"
#include "reference/storage.h"

extern __shared__ __align__(16) unsigned char semanticvlaDynamicShared[];

using namespace kernelTest;

namespace {

struct Params {
  int* out;
  int size;
};

__global__ void missingBarrier(const Params p) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  p.out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

__global__ void withBarrier(const Params p) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncthreads();
  p.out[threadIdx.x] = values[(threadIdx.x + 1) % 64];
}

__global__ void unwritten(const Params p) {
  __shared__ int values[64];
  // Never so, but the compiler must not know that nobody writes.
  if (p.size == 12345) values[threadIdx.x] = 1;
  p.out[threadIdx.x] = values[threadIdx.x];
}

__global__ void dividedBarrier(const Params) {
  if (threadIdx.x < 40) __syncthreads();
}

__global__ void differentBarriers(const Params) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void absentLanes(const Params p) {
  if (threadIdx.x % 2 == 0) p.out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 2);
}

__global__ void outsideMask(const Params p) {
  if (threadIdx.x < 16) p.out[threadIdx.x] = __shfl_xor_sync(0xffffu, 1, 16);
}

__global__ void pastDynamic(const Params p) { semanticvlaDynamicShared[p.size] = 1; }

[[maybe_unused]] __global__ void writesOutside(const Params p) { p.out[threadIdx.x + 1] = 0; }

__global__ void butterfly(const Params p) {
  int value = static_cast<int>(threadIdx.x);
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  const bool odd = threadIdx.x % 2 == 1;
  p.out[threadIdx.x] = value + static_cast<int>(__ballot_sync(0xffffffffu, odd) & 0xffu);
}

constexpr size_t kThreads = 64;
constexpr unsigned kBlocks = 5;

/// Each block adds up its threads' numbers; the last one adds up the blocks'. `out`: the sum, the
/// counter, one number a block.
template <bool TicketFirst, bool Fences>
__global__ void addsUp(const Params p) {
  __shared__ int last, sum;
  const auto takeTicket = [&] {
    if (threadIdx.x == 0) {
      if (Fences) __threadfence();
      last = atomicInc(reinterpret_cast<unsigned*>(&p.out[1]), gridDim.x - 1) == gridDim.x - 1;
      __threadfence();
    }
    __syncthreads();
  };
  if (TicketFirst) takeTicket();
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  int value = static_cast<int>(threadIdx.x);
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (threadIdx.x == 0) p.out[2 + blockIdx.x] = value + static_cast<int>(blockIdx.x);
  __syncthreads();
  if (!TicketFirst) takeTicket();
  if (!last || threadIdx.x != 0) return;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += p.out[2 + i];
  p.out[0] = sum;
}

int run(void (*kernel)(const Params), int variant, size_t shared, std::vector<uint8_t>& out) {
  const Buffer buffer(kThreads * sizeof(int), 0, 0);
  Params params{buffer.data<int>(), static_cast<int>(shared)};
  void* arguments[] = {&params};
  selectVariant(variant);
  const int error = cudaLaunchKernel(kernel, dim3(1), dim3(kThreads), arguments, shared, nullptr);
  out = buffer.download("out");
  return error;
}

/// Whether the variants tell that something is wrong with a kernel that returns no error.
bool variantsDiffer(void (*kernel)(const Params)) {
  std::vector<uint8_t> first, next;
  run(kernel, 0, 0, first);
  bool differ = false;
  for (int variant = 1; variant < variantCount(); ++variant) {
    run(kernel, variant, 0, next);
    differ = differ || next != first;
  }
  return differ;
}

void expectFault(void (*kernel)(const Params), const char* words, Count& count) {
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    std::vector<uint8_t> out;
    if (run(kernel, variant, 16, out) == 0) fail(std::string("not found out: ") + words);
    if (shim::lastFault().find(words) == std::string::npos) {
      fail("expected \"" + std::string(words) + "\" in: " + shim::lastFault());
    }
  }
  ++count.cases;
}

}  // namespace

KERNEL_TEST(shimFindsRaces) {
  if (!variantsDiffer(missingBarrier)) fail("a missing barrier gives the same in every order");
  if (!variantsDiffer(unwritten)) fail("unwritten shared memory reads the same in every variant");
  if (variantsDiffer(withBarrier)) fail("a correct kernel differs between orders");
  count.cases += 3;
}

KERNEL_TEST(shimFindsFaults) {
  expectFault(dividedBarrier, "40 of 64 threads are there", count);
  expectFault(differentBarriers, "different barriers", count);
  expectFault(absentLanes, "lanes that will not come", count);
  expectFault(outsideMask, "takes no part", count);
  expectFault(pastDynamic, "byte 16 of 16 bytes of dynamic shared memory", count);
#ifndef __SANITIZE_ADDRESS__
  // With the sanitizer the write itself ends the program.
  ++count.cases;
  bool seen = false;
  try {
    std::vector<uint8_t> out;
    run(writesOutside, 0, 0, out);
  } catch (const Failure& failure) {
    seen = failure.message.find("written outside") != std::string::npos;
  }
  if (!seen) fail("a write behind a buffer is not seen");
#endif
}

KERNEL_TEST(shimBlocksTakeTurns) {
  const int expected = 496 * static_cast<int>(kBlocks) + 10;
  const auto sumOf = [&](void (*kernel)(const Params), uint64_t seed) {
    ++count.launches;
    const Buffer out(kThreads * sizeof(int), 0, 0);
    Params params{out.data<int>(), 0};
    void* arguments[] = {&params};
    shim::setMode({shim::Order::kRandom, 0xff, seed, 3});
    finish(cudaLaunchKernel(kernel, dim3(kBlocks), dim3(kThreads), arguments, 0, nullptr));
    const std::vector<int> numbers = valuesOf<int>(out.download("out"));
    if (numbers[1] != 0) fail("the counter was left at " + std::to_string(numbers[1]));
    return numbers[0];
  };
  int found = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    if (sumOf(addsUp<false, true>, seed) != expected) fail("the last block's sum is another");
    found += sumOf(addsUp<true, true>, seed) != expected;
  }
  if (found == 0) fail("a ticket that is taken before the block has written gives the right sum");
  expectFault(addsUp<false, false>, "an atomic without a fence before it", count);
  count.cases += 2;
}

KERNEL_TEST(shimWarpOperations) {
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    std::vector<uint8_t> out;
    if (run(butterfly, variant, 0, out) != 0) fail(shim::lastFault());
    const std::vector<int> values = valuesOf<int>(out);
    for (size_t i = 0; i < kThreads; ++i) {
      const int expected = (i < 32 ? 496 : 496 + 1024) + 0xaa;
      if (values[i] != expected)
        fail("thread " + std::to_string(i) + ": " + std::to_string(values[i]));
    }
  }
  ++count.cases;
}

KERNEL_TEST(shimConversions) {
  count.cases = 2;
  Random random(31);
  const auto same = [](float a, float b) { return a == b || (a != a && b != b); };
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    float expected = reference::load(&half, DataType::kFloat16, 0);
    if (!same(__half2float({half}), expected)) fail("half " + std::to_string(bits));
    expected = reference::load(&half, DataType::kBfloat16, 0);
    if (!same(__bfloat162float({half}), expected)) fail("bfloat16 " + std::to_string(bits));
  }
  for (int round = 0; round < 300000; ++round) {
    // Any float, and one within half a unit of a half: that is where rounding decides.
    uint32_t bits = static_cast<uint32_t>(random());
    if (round % 2 == 1) {
      const uint16_t half = static_cast<uint16_t>(random());
      const float near = reference::load(&half, DataType::kFloat16, 0);
      std::memcpy(&bits, &near, 4);
      bits += static_cast<uint32_t>(uniform(random, -1, 1)) * 0x1000u +
              static_cast<uint32_t>(uniform(random, -1, 1));
    }
    float value;
    std::memcpy(&value, &bits, 4);
    for (const DataType type : {DataType::kFloat16, DataType::kBfloat16}) {
      uint16_t expected;
      reference::store(&expected, type, 0, value);
      const uint16_t found = type == DataType::kFloat16 ? __float2half_rn(value).bits
                                                        : __float2bfloat16_rn(value).bits;
      // Every NaN is one.
      if (found != expected && value == value) {
        fail(std::string(nameOf(type)) + " of float bits " + std::to_string(bits) + ": expected " +
             std::to_string(expected) + ", found " + std::to_string(found));
      }
    }
  }
}
