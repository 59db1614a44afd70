#pragma once

#include <cstddef>
#include <cstdint>

namespace semanticvla::runtime {

enum class FloatType { kFloat32, kFloat16, kBfloat16, kFloat64 };

constexpr size_t bytesOf(FloatType type) {
  return type == FloatType::kFloat64 ? 8 : type == FloatType::kFloat32 ? 4 : 2;
}

/// `count` numbers from one type to another, to the nearest, ties to even. NaN stays NaN.
/// @return the index of the first finite number that became infinite (its type holds no such
/// number), else `count`
size_t convertFloats(FloatType from, const void* source, FloatType to, void* target, size_t count);

}  // namespace semanticvla::runtime
