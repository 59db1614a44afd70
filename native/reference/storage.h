#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/status.h"

namespace semanticvla::reference {

using kernels::DataType;

/// Value of the IEEE format with `exponentBits` and `mantissaBits`, by its definition.
inline float decodeFloat(uint32_t bits, int exponentBits, int mantissaBits) {
  const uint32_t mantissa = bits & ((1u << mantissaBits) - 1u);
  const int exponent = static_cast<int>(bits >> mantissaBits & ((1u << exponentBits) - 1u));
  const int bias = (1 << (exponentBits - 1)) - 1;
  const bool negative = (bits >> (mantissaBits + exponentBits)) != 0;
  float magnitude = 0.0f;
  if (exponent == (1 << exponentBits) - 1) {
    magnitude = mantissa != 0 ? NAN : INFINITY;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), 1 - bias - mantissaBits);
  } else {
    magnitude = std::ldexp(static_cast<float>(mantissa + (1u << mantissaBits)),
                           exponent - bias - mantissaBits);
  }
  return negative ? -magnitude : magnitude;
}

/// Nearest value of that format, half to even; above its range infinity; NaN is its quiet NaN.
inline uint32_t encodeFloat(float x, int exponentBits, int mantissaBits) {
  const uint32_t sign = std::signbit(x) ? 1u << (mantissaBits + exponentBits) : 0u;
  const int bias = (1 << (exponentBits - 1)) - 1;
  const uint32_t infinity = ((1u << exponentBits) - 1u) << mantissaBits;
  if (std::isnan(x)) return infinity | 1u << (mantissaBits - 1);
  if (std::isinf(x)) return sign | infinity;
  if (x == 0.0f) return sign;
  // The unit of the last place: that of the smallest normal number for everything below it.
  int exponent = std::ilogb(x);
  if (exponent < 1 - bias) exponent = 1 - bias;
  // Exact: a double holds a float scaled by a power of two. nearbyint rounds half to even.
  const double units =
      std::nearbyint(std::ldexp(std::abs(static_cast<double>(x)), mantissaBits - exponent));
  // The leading bit of a normal number adds one to the exponent field, a carry another one.
  const int64_t bits =
      static_cast<int64_t>(units) + (static_cast<int64_t>(exponent + bias - 1) << mantissaBits);
  return sign | (bits >= infinity ? infinity : static_cast<uint32_t>(bits));
}

/// Element `i` of an array stored as `type`, as float32.
inline float load(const void* data, DataType type, int64_t i) {
  if (type == DataType::kFloat32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return type == DataType::kFloat16 ? decodeFloat(bits, 5, 10) : decodeFloat(bits, 8, 7);
}

/// Rounds `value` to `type` and stores it as element `i`.
inline void store(void* data, DataType type, int64_t i, float value) {
  if (type == DataType::kFloat32) {
    static_cast<float*>(data)[i] = value;
    return;
  }
  const uint32_t bits =
      type == DataType::kFloat16 ? encodeFloat(value, 5, 10) : encodeFloat(value, 8, 7);
  static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bits);
}

/// Copies `count` elements bit for bit.
inline void copyElements(const void* from, int64_t first, void* to, int64_t at, int64_t count,
                         DataType type) {
  const size_t size = kernels::sizeOf(type);
  std::memcpy(static_cast<char*>(to) + at * size, static_cast<const char*>(from) + first * size,
              static_cast<size_t>(count) * size);
}

}  // namespace semanticvla::reference
