#pragma once

#include <cstddef>
#include <cstdint>

namespace semanticvla::runtime {

/// Of weights. Levels of one byte (lib/checkpoint/int8Weights.ts) are copied, never converted.
enum class FloatType { kFloat32, kFloat16, kBfloat16, kFloat64, kInt8, kFloat8 };

constexpr size_t bytesOf(FloatType type) {
  switch (type) {
    case FloatType::kFloat64:
      return 8;
    case FloatType::kFloat32:
      return 4;
    case FloatType::kInt8:
    case FloatType::kFloat8:
      return 1;
    default:
      return 2;
  }
}

/// `count` numbers from one type to another, to the nearest, ties to even. NaN stays NaN.
/// @return the index of the first finite number that became infinite (its type holds no such
/// number), else `count`
size_t convertFloats(FloatType from, const void* source, FloatType to, void* target, size_t count);

}  // namespace semanticvla::runtime
