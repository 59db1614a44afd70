#pragma once

#include <napi.h>

#include <exception>
#include <new>

#include "runtime/failure.h"

namespace semanticvla::napi {

/// Named as in lib/addon/binding.ts.
inline const char* kindName(runtime::FailureKind kind) {
  switch (kind) {
    case runtime::FailureKind::kMemory:
      return "memory";
    case runtime::FailureKind::kDriver:
      return "driver";
    case runtime::FailureKind::kPlan:
      return "plan";
    case runtime::FailureKind::kWeights:
      return "weights";
    case runtime::FailureKind::kRequest:
      return "request";
    case runtime::FailureKind::kCancelled:
      return "cancelled";
    default:
      return "device";
  }
}

/// The edge: a C++ exception becomes a JS error; everything below simply throws.
inline Napi::Error toJsError(Napi::Env env, const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Napi::Error& error) {
    return error;
  } catch (const runtime::Failure& failure) {
    Napi::Error error = Napi::Error::New(env, failure.what());
    error.Set("kind", Napi::String::New(env, kindName(failure.kind)));
    error.Set("needed", Napi::Number::New(env, static_cast<double>(failure.needed)));
    error.Set("free", Napi::Number::New(env, static_cast<double>(failure.free)));
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
