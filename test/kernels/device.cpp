#include "device.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "reference/storage.h"

namespace kernelTest {

namespace {

/// With the address sanitizer the allocation's own end is watched instead.
#ifdef __SANITIZE_ADDRESS__
constexpr size_t kZoneBytes = 0;
#else
constexpr size_t kZoneBytes = 512;
#endif

struct Named {
  const char* name;
  Test test;
};

std::vector<Named>& registered() {
  static std::vector<Named> tests;
  return tests;
}

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) fail(std::string(what) + ": " + cudaGetErrorString(error));
}

}  // namespace

void fail(const std::string& message) { throw Failure{message}; }

#ifdef KERNEL_SHIM
int variantCount() { return 3; }
void selectVariant(int variant) {
  // The third has three blocks under way at a time.
  constexpr shim::Mode kModes[] = {{shim::Order::kForward, 0xff, 1},
                                   {shim::Order::kReverse, 0x7f, 2},
                                   {shim::Order::kRandom, 0x00, 3, 3}};
  shim::setMode(kModes[variant]);
}
#else
int variantCount() { return 3; }
void selectVariant(int) {}
#endif

unsigned char fillOf(int variant) {
  constexpr unsigned char kFills[] = {0xff, 0x7f, 0x00};
  return kFills[variant];
}

Buffer::Buffer(size_t bytes, size_t offset, unsigned char fill)
    : bytes_(bytes), front_(kZoneBytes + offset) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, front_ + bytes + kZoneBytes), "cudaMalloc");
  memory_ = static_cast<uint8_t*>(memory);
  check(cudaMemset(memory_, zone_, front_ + bytes + kZoneBytes), "cudaMemset");
  if (bytes > 0) check(cudaMemset(memory_ + front_, fill, bytes), "cudaMemset");
}

Buffer::Buffer(const std::vector<uint8_t>& contents, size_t offset)
    : Buffer(contents.size(), offset, 0) {
  check(cudaMemcpy(memory_ + front_, contents.data(), bytes_, cudaMemcpyHostToDevice),
        "cudaMemcpy");
}

Buffer::~Buffer() { cudaFree(memory_); }

std::vector<uint8_t> Buffer::download(const char* name) const {
  std::vector<uint8_t> all(front_ + bytes_ + kZoneBytes);
  check(cudaMemcpy(all.data(), memory_, all.size(), cudaMemcpyDeviceToHost), "cudaMemcpy");
  for (size_t i = 0; i < all.size(); ++i) {
    if (i == front_) i += bytes_;
    if (i < all.size() && all[i] != zone_) {
      fail(std::string(name) + ": byte " + std::to_string(static_cast<int64_t>(i - front_)) +
           " was written outside its " + std::to_string(bytes_) + " bytes");
    }
  }
  return std::vector<uint8_t>(all.begin() + front_, all.begin() + front_ + bytes_);
}

void finish(kernels::Status status) {
  if (status > 0)
    fail(std::string("launch: ") + cudaGetErrorString(static_cast<cudaError_t>(status)));
  if (status < 0) fail(std::string("refused: ") + kernels::statusText(status));
  check(cudaDeviceSynchronize(), "kernel");
}

int uniform(Random& random, int low, int high) {
  return low + static_cast<int>(random() % static_cast<uint64_t>(high - low + 1));
}

std::vector<uint8_t> encode(const std::vector<float>& values, DataType type) {
  std::vector<uint8_t> bytes(values.size() * kernels::sizeOf(type));
  for (size_t i = 0; i < values.size(); ++i) reference::store(bytes.data(), type, i, values[i]);
  return bytes;
}

std::vector<float> decode(const std::vector<uint8_t>& bytes, DataType type) {
  std::vector<float> values(bytes.size() / kernels::sizeOf(type));
  for (size_t i = 0; i < values.size(); ++i) values[i] = reference::load(bytes.data(), type, i);
  return values;
}

const char* nameOf(DataType type) {
  constexpr const char* kNames[] = {"float32", "float16", "bfloat16"};
  return kNames[static_cast<int>(type)];
}

std::vector<float> exactValues(Random& random, size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(uniform(random, -7, 7)) / 8.0f;
  return values;
}

std::vector<float> gaussianValues(Random& random, size_t count) {
  // Box and Muller: std::normal_distribution differs between libraries.
  std::vector<float> values(count);
  for (float& value : values) {
    const double u = (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53;
    const double v = static_cast<double>(random() >> 11) * 0x1p-53;
    value = static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v));
  }
  return values;
}

template <typename T>
static void expectEqualAt(const std::vector<T>& found, const std::vector<T>& expected,
                          const char* name) {
  if (found.size() != expected.size()) fail(std::string(name) + ": another number of elements");
  for (size_t i = 0; i < found.size(); ++i) {
    // The second half is for NaN.
    if (found[i] == expected[i] || (found[i] != found[i] && expected[i] != expected[i])) continue;
    fail(std::string(name) + "[" + std::to_string(i) + "]: expected " +
         std::to_string(expected[i]) + " but the kernel gave " + std::to_string(found[i]));
  }
}

void expectSame(const std::vector<float>& found, const std::vector<float>& expected,
                const char* name) {
  expectEqualAt(found, expected, name);
}
void expectSame(const std::vector<int64_t>& found, const std::vector<int64_t>& expected,
                const char* name) {
  expectEqualAt(found, expected, name);
}
void expectSame(const std::vector<uint8_t>& found, const std::vector<uint8_t>& expected,
                const char* name) {
  expectEqualAt(found, expected, name);
}

void expectNear(const std::vector<float>& found, const std::vector<float>& expected, float absolute,
                float relative, const char* name) {
  if (found.size() != expected.size()) fail(std::string(name) + ": another number of elements");
  for (size_t i = 0; i < found.size(); ++i) {
    const float a = found[i], b = expected[i];
    if (a == b || (a != a && b != b)) continue;
    if (std::abs(a - b) <= absolute + relative * std::abs(b)) continue;
    char text[160];
    std::snprintf(text, sizeof(text), "%s[%zu]: expected %.9g within %.3g + %.3g of it, found %.9g",
                  name, i, static_cast<double>(b), static_cast<double>(absolute),
                  static_cast<double>(relative), static_cast<double>(a));
    fail(text);
  }
}

float relativeUnit(DataType type) {
  return type == DataType::kFloat32 ? 0x1p-23f : type == DataType::kFloat16 ? 0x1p-10f : 0x1p-7f;
}
float absoluteUnit(DataType type) { return type == DataType::kFloat16 ? 0x1p-24f : 0.0f; }

Registration::Registration(const char* name, Test test) { registered().push_back({name, test}); }

int runTests(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const Named& named : registered()) std::printf("%s\n", named.name);
    return 0;
  }
  int passed = 0, failed = 0, cases = 0, launches = 0;
  for (const Named& named : registered()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strstr(named.name, argv[i]) != nullptr;
    if (!wanted) continue;
    Count count;
    try {
      named.test(count);
      ++passed;
      std::printf("ok   %s: %d cases, %d launches\n", named.name, count.cases, count.launches);
    } catch (const Failure& failure) {
      ++failed;
      std::printf("FAIL %s: case %d: %s\n", named.name, count.cases, failure.message.c_str());
    }
    std::fflush(stdout);
    cases += count.cases;
    launches += count.launches;
  }
  std::printf("%d passed, %d failed, %d cases, %d launches\n", passed, failed, cases, launches);
  // No test at all is a misspelled filter, not a success.
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace kernelTest
