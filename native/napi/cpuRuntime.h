#pragma once

#include <napi.h>

namespace semanticvla::napi {

/// `openCpuRuntime` of the addon: ONNX Runtime's two graphs on a thread of their own. Not through a worker thread of Node:
/// one that is ended while the runtime computes would take the process with it.
Napi::Value openCpuRuntime(const Napi::CallbackInfo& info);

}  // namespace semanticvla::napi
