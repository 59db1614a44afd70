#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/status.h"

namespace kernelTest {

using namespace semanticvla;
using kernels::DataType;

/// Fails the current test.
struct Failure {
  std::string message;
};
[[noreturn]] void fail(const std::string& message);

/// Ways to run one case; every one of them must give the same bits. On a GPU: repetitions. In the
/// stand-in: orders of threads and blocks, and patterns in shared memory.
int variantCount();
void selectVariant(int variant);
/// Pattern that outputs and workspaces hold before a launch.
unsigned char fillOf(int variant);

/// Device memory between two zones that a kernel must not write. `offset` bytes after an address
/// aligned to 256.
class Buffer {
 public:
  Buffer(size_t bytes, size_t offset, unsigned char fill);
  Buffer(const std::vector<uint8_t>& contents, size_t offset);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <typename T = void>
  T* data() const {
    return reinterpret_cast<T*>(memory_ + front_);
  }
  /// The contents; fails when a byte of the zones has changed. `name` is for the message.
  std::vector<uint8_t> download(const char* name) const;

 private:
  uint8_t* memory_ = nullptr;
  size_t bytes_ = 0;
  size_t front_ = 0;
  unsigned char zone_ = 0xa5;
};

/// Fails with the words of `status`, or with what the device says when it is done.
void finish(kernels::Status status);

// ---- data ----

using Random = std::mt19937_64;

/// Uniform in [low, high].
int uniform(Random& random, int low, int high);

/// Element sizes: bits of `type`, written with the reference's conversions.
std::vector<uint8_t> encode(const std::vector<float>& values, DataType type);
std::vector<float> decode(const std::vector<uint8_t>& bytes, DataType type);
const char* nameOf(DataType type);
constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBfloat16};

/// Multiples of 1/8 between -7/8 and 7/8: every sum of fewer than 2^16 of their products is exact
/// in float32, in any order, so kernel and twin must agree to the bit.
std::vector<float> exactValues(Random& random, size_t count);
std::vector<float> gaussianValues(Random& random, size_t count);

template <typename T>
std::vector<uint8_t> bytesOf(const std::vector<T>& values) {
  const auto* begin = reinterpret_cast<const uint8_t*>(values.data());
  return std::vector<uint8_t>(begin, begin + values.size() * sizeof(T));
}
template <typename T>
std::vector<T> valuesOf(const std::vector<uint8_t>& bytes) {
  const auto* begin = reinterpret_cast<const T*>(bytes.data());
  return std::vector<T>(begin, begin + bytes.size() / sizeof(T));
}

/// Same values, NaN equal to NaN.
void expectSame(const std::vector<float>& found, const std::vector<float>& expected,
                const char* name);
void expectSame(const std::vector<int64_t>& found, const std::vector<int64_t>& expected,
                const char* name);
void expectSame(const std::vector<uint8_t>& found, const std::vector<uint8_t>& expected,
                const char* name);
/// |found - expected| <= absolute + relative * |expected|; NaN and infinities must be the same.
void expectNear(const std::vector<float>& found, const std::vector<float>& expected, float absolute,
                float relative, const char* name);

/// Half of the unit in the last place of a value of `type`, relative and (below the smallest normal
/// number) absolute; two results either side of a tie differ by a whole one.
float relativeUnit(DataType type);
float absoluteUnit(DataType type);

// ---- tests ----

struct Count {
  /// Inputs compared with the twin, and launches made for them.
  int cases = 0;
  int launches = 0;
};
using Test = void (*)(Count& count);
struct Registration {
  Registration(const char* name, Test test);
};

/// Runs the tests whose name contains one of the arguments, or all; `--list` prints their names.
/// Returns the exit code.
int runTests(int argc, char** argv);

#define KERNEL_TEST(name)                                                \
  static void name(kernelTest::Count& count);                            \
  static const kernelTest::Registration name##Registration(#name, name); \
  static void name(kernelTest::Count& count)

}  // namespace kernelTest
