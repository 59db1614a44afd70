#pragma once

#include <napi.h>

#include <string>
#include <vector>

#include "runtime/session.h"

namespace semanticvla::napi {

/// What crosses between JS and the session; shapes in lib/addon/binding.ts.

/// An input with its own copy of the bytes.
struct OwnedTensor {
  std::string name;
  runtime::Dims dims;
  std::vector<uint8_t> bytes;
};

/// Frames with their pixels borrowed from JS, for the time of the call.
struct BorrowedFrames {
  runtime::ImagePipelineRequest request;
  std::vector<const uint8_t*> pixels;
};

std::string toText(const Napi::Object& object, const char* name);
runtime::SessionRequest toSessionRequest(const Napi::Object& object);
std::vector<OwnedTensor> toOwnedTensors(const Napi::Value& value);
/// Borrowed from JS, for the time of the call.
std::vector<runtime::HostTensor> toHostTensors(const Napi::Value& value);
BorrowedFrames toBorrowedFrames(const Napi::Value& value);

Napi::Object fromDevice(Napi::Env env, const runtime::DeviceInfo& info);
Napi::Object fromMemory(Napi::Env env, const runtime::MemoryReport& report);
/// `{names: string[], ms: Float64Array}`
Napi::Object fromLayers(Napi::Env env, const std::vector<runtime::LayerTime>& layers);
Napi::Object fromKernels(Napi::Env env, const runtime::SessionKernels& kernels);
Napi::Object fromStep(Napi::Env env, const runtime::StepResult& result);

}  // namespace semanticvla::napi
