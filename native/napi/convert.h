#pragma once

#include <napi.h>

#include <cstdint>
#include <vector>

#include "reference/preprocessor.h"

namespace semanticvla::napi {

/// JS values to plain ones and back. TypeScript has validated and worded every error; what is checked here only keeps a
/// wrong caller from reading or writing outside memory.

/// A frame with its own copy of the pixels: JS may change the array while a thread works.
struct OwnedFrame {
  std::vector<uint8_t> pixels;
  int width = 0;
  int height = 0;
  bool bgr = false;
};

int toInt(const Napi::Value& value, const char* name, int low, int high);
/// `length` bytes of a Uint8Array.
const uint8_t* toBytes(const Napi::Value& value, const char* name, size_t length);
std::vector<OwnedFrame> toFrames(const Napi::Value& value);
reference::PreprocessOptions toPreprocessOptions(const Napi::Value& value);

Napi::Uint8Array fromBytes(Napi::Env env, const uint8_t* data, size_t length);

}  // namespace semanticvla::napi
