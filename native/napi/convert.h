#pragma once

#include <napi.h>

#include <array>
#include <cstdint>
#include <vector>

#include "reference/preprocessor.h"

namespace semanticvla::napi {

/// JS values to C++ ones and back. TypeScript has validated the arguments and worded the errors;
/// the checks here only keep a wrong caller from reading or writing out of bounds.

/// A frame with its own copy of the pixels: JS may change the array while a thread works.
struct OwnedFrame {
  std::vector<uint8_t> pixels;
  int width = 0;
  int height = 0;
  bool bgr = false;
};

/// A caller's image, read in place: only for work that ends before the call returns.
struct ImageView {
  const uint8_t* pixels = nullptr;
  int width = 0;
  int height = 0;
  size_t bytes() const { return static_cast<size_t>(width) * height * 3; }
};

/// A caller's bytes, in place.
struct BytesView {
  uint8_t* data = nullptr;
  size_t length = 0;
};

/// A caller's floats, in place.
struct FloatsView {
  float* data = nullptr;
  size_t length = 0;
};

/// Most images of one call.
constexpr int kMaxImages = 1024;

int toInt(const Napi::Value& value, const char* name, int low, int high);
/// Property `name` of an object.
bool toBool(const Napi::Value& value, const char* name);
int toSide(const Napi::Value& value, const char* name);
/// Arguments (data, width, height) from `first` on.
ImageView toImage(const Napi::CallbackInfo& info, size_t first);
/// `length` bytes of a Uint8Array.
const uint8_t* toBytes(const Napi::Value& value, const char* name, size_t length);
/// All of a Uint8Array, in place: only for work that ends before the call returns.
BytesView toWritableBytes(const Napi::Value& value, const char* name);
/// All of a Float32Array, in place: only for work that ends before the call returns.
FloatsView toWritableFloats(const Napi::Value& value, const char* name);
/// Three numbers, one per channel.
std::array<float, 3> toChannels(const Napi::Value& value, const char* name);
/// Writes into `frames`, whose buffers are reused.
void toFrames(const Napi::Value& value, std::vector<OwnedFrame>& frames);
reference::PreprocessOptions toPreprocessOptions(const Napi::Value& value);

Napi::Uint8Array fromBytes(Napi::Env env, const uint8_t* data, size_t length);

}  // namespace semanticvla::napi
