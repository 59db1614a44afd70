#pragma once

// Stand-in for CUDA's header: storage and the two conversions. Written with integer shifts, as the
// reference's conversions are not, so that one checks the other.

#include <cstdint>
#include <cstring>

struct __half {
  uint16_t bits;
};

inline float __half2float(__half x) {
  const uint32_t sign = (x.bits & 0x8000u) << 16;
  uint32_t exponent = x.bits >> 10 & 31u, mantissa = x.bits & 1023u;
  uint32_t out;
  if (exponent == 31) {
    out = sign | 0x7f800000u | mantissa << 13;
  } else if (exponent != 0) {
    out = sign | (exponent + 112) << 23 | mantissa << 13;
  } else if (mantissa == 0) {
    out = sign;
  } else {
    exponent = 113;
    while ((mantissa & 1024u) == 0) {
      mantissa <<= 1;
      --exponent;
    }
    out = sign | exponent << 23 | (mantissa & 1023u) << 13;
  }
  float result;
  std::memcpy(&result, &out, 4);
  return result;
}

inline __half __float2half_rn(float x) {
  uint32_t in;
  std::memcpy(&in, &x, 4);
  const uint16_t sign = static_cast<uint16_t>(in >> 16 & 0x8000u);
  const uint32_t magnitude = in & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7fff};
  // 65520 and above rounds to infinity.
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  uint32_t value, rest, half;
  if (magnitude >= 0x38800000u) {
    value = (magnitude >> 13) - (112u << 10);
    rest = magnitude & 0x1fffu;
    half = 0x1000u;
  } else {
    // Below 2^-25 nothing is left; at 2^-25 itself the tie goes to zero.
    if (magnitude <= 0x33000000u) return {sign};
    const uint32_t shift = 126 - (magnitude >> 23);
    const uint32_t full = (magnitude & 0x7fffffu) | 0x800000u;
    value = full >> shift;
    rest = full & ((1u << shift) - 1);
    half = 1u << (shift - 1);
  }
  value += rest > half || (rest == half && (value & 1u));
  return {static_cast<uint16_t>(sign | value)};
}
