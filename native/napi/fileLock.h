#pragma once

#include <napi.h>

namespace semanticvla::napi {

/// `tryLock` of the addon: an exclusive lock on an open file (flock), without waiting. The kernel
/// releases it when the descriptor is closed or the process ends, however it ends. Node has no such
/// call.
Napi::Value tryLock(const Napi::CallbackInfo& info);

}  // namespace semanticvla::napi
