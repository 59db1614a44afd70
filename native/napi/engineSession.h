#pragma once

#include <napi.h>

namespace semanticvla::napi {

/// `openSession` of the addon: { done: Promise<session>, cancel, end }. The session has a thread of
/// its own.
Napi::Value openSession(const Napi::CallbackInfo& info);

/// `listDevices` of the addon: the GPUs that a module's driver shows. Synchronous: milliseconds,
/// once CUDA has started.
Napi::Value listDevices(const Napi::CallbackInfo& info);

}  // namespace semanticvla::napi
