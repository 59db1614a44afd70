#include "runtime/convertWeights.h"

#include <cmath>
#include <cstring>

namespace semanticvla::runtime {

namespace {

uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float fromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float widenHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fU;
  const uint32_t fraction = half & 0x3ffU;
  if (exponent == 31) return fromBits(sign | 0x7f800000U | fraction << 13);
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return fromBits(sign | bitsOf(magnitude));
  }
  return fromBits(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t narrowToBfloat16(float value) {
  const uint32_t bits = bitsOf(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>(bits >> 16 | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

uint16_t narrowToHalf(float value) {
  const uint32_t bits = bitsOf(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000U);
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return sign | 0x7e00U;
  // 65520 and above round past the largest half
  if (magnitude >= 0x477ff000U) return sign | 0x7c00U;
  if (magnitude < 0x38800000U) {
    // subnormal: the sum's rounding is the one wanted, its lowest bit being 2^-24
    const float shifted = fromBits(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(bitsOf(shifted) - bitsOf(0.5f));
  }
  const uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U);
  return sign | static_cast<uint16_t>((rounded - 0x38000000U) >> 13);
}

template <typename T>
T load(const uint8_t* source, size_t index) {
  T value;
  std::memcpy(&value, source + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
void store(uint8_t* target, size_t index, T value) {
  std::memcpy(target + index * sizeof(T), &value, sizeof(T));
}

struct FromFloat64 {
  // double -> float -> half rounds twice; a weight of a double is within a float's error anyway,
  // except at an exact tie
  static float read(const uint8_t* source, size_t i) {
    return static_cast<float>(load<double>(source, i));
  }
  static bool isFinite(const uint8_t* source, size_t i) {
    return std::isfinite(load<double>(source, i));
  }
};
struct FromFloat32 {
  static float read(const uint8_t* source, size_t i) { return load<float>(source, i); }
};
struct FromFloat16 {
  static float read(const uint8_t* source, size_t i) {
    return widenHalf(load<uint16_t>(source, i));
  }
};
struct FromBfloat16 {
  static float read(const uint8_t* source, size_t i) {
    return fromBits(static_cast<uint32_t>(load<uint16_t>(source, i)) << 16);
  }
};

struct ToFloat32 {
  using Stored = float;
  static Stored of(float value) { return value; }
  static bool isInfinite(Stored value) { return std::isinf(value); }
};
struct ToFloat16 {
  using Stored = uint16_t;
  static Stored of(float value) { return narrowToHalf(value); }
  static bool isInfinite(Stored value) { return (value & 0x7fffU) == 0x7c00U; }
};
struct ToBfloat16 {
  using Stored = uint16_t;
  static Stored of(float value) { return narrowToBfloat16(value); }
  static bool isInfinite(Stored value) { return (value & 0x7fffU) == 0x7f80U; }
};

/// A finite double too large for float32 counts as finite.
template <typename From>
bool isFiniteSource(const uint8_t* source, size_t i) {
  if constexpr (std::is_same_v<From, FromFloat64>) {
    return From::isFinite(source, i);
  } else {
    return std::isfinite(From::read(source, i));
  }
}

template <typename From, typename To>
size_t convert(const uint8_t* source, uint8_t* target, size_t count) {
  bool overflows = false;
  for (size_t i = 0; i < count; ++i) {
    const auto stored = To::of(From::read(source, i));
    overflows |= To::isInfinite(stored);
    store(target, i, stored);
  }
  if (!overflows) return count;
  // Rare: look for one that was finite. An infinity in the source is the checkpoint's own.
  for (size_t i = 0; i < count; ++i) {
    if (To::isInfinite(To::of(From::read(source, i))) && isFiniteSource<From>(source, i)) return i;
  }
  return count;
}

template <typename From>
size_t convertFrom(const uint8_t* source, FloatType to, uint8_t* target, size_t count) {
  switch (to) {
    case FloatType::kFloat16:
      return convert<From, ToFloat16>(source, target, count);
    case FloatType::kBfloat16:
      return convert<From, ToBfloat16>(source, target, count);
    default:
      return convert<From, ToFloat32>(source, target, count);
  }
}

}  // namespace

size_t convertFloats(FloatType from, const void* source, FloatType to, void* target, size_t count) {
  const auto* in = static_cast<const uint8_t*>(source);
  auto* out = static_cast<uint8_t*>(target);
  switch (from) {
    case FloatType::kFloat64:
      return convertFrom<FromFloat64>(in, to, out, count);
    case FloatType::kFloat16:
      return convertFrom<FromFloat16>(in, to, out, count);
    case FloatType::kBfloat16:
      return convertFrom<FromBfloat16>(in, to, out, count);
    default:
      return convertFrom<FromFloat32>(in, to, out, count);
  }
}

}  // namespace semanticvla::runtime
