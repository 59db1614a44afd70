#pragma once

#include <napi.h>

namespace semanticvla::napi {

/// `openCpuRuntime` of the addon: ONNX Runtime's two graphs on a thread of their own. Not one of
/// Node's worker threads: terminating a worker while the runtime computes aborts the process.
Napi::Value openCpuRuntime(const Napi::CallbackInfo& info);

}  // namespace semanticvla::napi
