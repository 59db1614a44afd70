#pragma once

#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fakeEngine.h"
#include "runtime/session.h"

namespace fake {

struct Test {
  const char* name;
  void (*body)();
};
/// Registers itself; run by main.cpp.
std::vector<Test>& tests();
struct Register {
  Register(const char* name, void (*body)()) { tests().push_back({name, body}); }
};
#define TEST(name)                                          \
  static void name();                                       \
  static const fake::Register register_##name(#name, name); \
  static void name()

inline void expect(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error("expected " + what);
}
/// The failure that `body` throws; fails when it throws none.
Failure failureOf(const std::function<void()>& body);

/// A small policy: two plans, weights in a file, inputs, and what the engines must make of them.
class SmallPolicy {
 public:
  SmallPolicy();
  ~SmallPolicy();
  SmallPolicy(const SmallPolicy&) = delete;
  SmallPolicy& operator=(const SmallPolicy&) = delete;

  SessionRequest request() const;
  static SessionParts parts(const DeviceOptions& options,
                            const std::shared_ptr<DeviceRecord>& record, bool hasPipeline = true);
  /// Ids [length + 1] that differ by `seed`.
  std::vector<int64_t> ids(int length, int seed) const;
  static std::vector<HostTensor> prepareInputs(const std::vector<int64_t>& ids,
                                               const std::vector<int64_t>& text);
  /// Images and joint state that differ by `seed`.
  std::vector<uint8_t> images(int seed) const;
  std::vector<float> proprio(int seed) const;
  static std::vector<HostTensor> stepInputs(const std::vector<uint8_t>& images,
                                            const std::vector<float>& proprio);
  /// The twin: outputs of both engines by name, computed without a session.
  std::map<std::string, std::vector<uint8_t>> expected(const std::vector<int64_t>& ids,
                                                       const std::vector<uint8_t>& images,
                                                       const std::vector<float>& proprio) const;
  const std::string& weightFile() const { return file_; }

  std::vector<int64_t> text = std::vector<int64_t>(8, 3);

 private:
  std::string file_;
  std::vector<float> weights_;
};

/// The whole way: opens, prepares, runs; returns the outputs by name.
std::map<std::string, std::vector<uint8_t>> outputsOf(const StepResult& result);

/// Nothing of the device is left, and nothing forbidden was done.
void expectClean(const DeviceRecord& record, const std::string& when);

}  // namespace fake
