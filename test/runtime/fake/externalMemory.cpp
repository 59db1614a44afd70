#include <node_api.h>

/// The function that the addon is: bytes outside of its heap that V8 was told of, by everybody.
/// process.memoryUsage() knows only those of array buffers.

static napi_value externalMemory(napi_env env, napi_callback_info) {
  int64_t bytes = 0;
  napi_adjust_external_memory(env, 0, &bytes);
  napi_value number = nullptr;
  napi_create_double(env, static_cast<double>(bytes), &number);
  return number;
}

NAPI_MODULE_INIT() {
  static_cast<void>(exports);
  napi_value function = nullptr;
  napi_create_function(env, "externalMemory", NAPI_AUTO_LENGTH, externalMemory, nullptr, &function);
  return function;
}
