#pragma once

#include <napi.h>

#include <cstdint>

namespace semanticvla::napi {

/// What a JavaScript object holds outside of V8's heap, told to V8: it sees a few hundred bytes
/// otherwise, and is in no hurry to collect the gigabytes that hang on them. Memory of the host and
/// of the device; pages of mapped files are not held. On the JS thread only. What was told is taken
/// back when this ends.
class HeldMemory {
 public:
  explicit HeldMemory(Napi::Env env) : env_(env) {}
  ~HeldMemory() { set(0); }
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;

  /// From now on it holds `bytes`.
  void set(uint64_t bytes) {
    const int64_t change = static_cast<int64_t>(bytes) - static_cast<int64_t>(told_);
    if (change == 0) return;
    told_ = bytes;
    Napi::MemoryManagement::AdjustExternalMemory(env_, change);
  }

 private:
  Napi::Env env_;
  uint64_t told_ = 0;
};

}  // namespace semanticvla::napi
