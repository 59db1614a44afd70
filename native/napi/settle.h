#pragma once

#include <napi.h>

#include <exception>
#include <new>

namespace semanticvla::napi {

/// The edge: a C++ exception becomes a JS error; everything below simply throws.
inline Napi::Error toJsError(Napi::Env env, const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Napi::Error::New(env, "out of memory");
  } catch (const std::exception& error) {
    return Napi::Error::New(env, error.what());
  } catch (...) {
    return Napi::Error::New(env, "unknown native error");
  }
}

}  // namespace semanticvla::napi
