#pragma once

#include "support/vectorize.h"

/// Eight floats at once, by the compiler's vector extension: one AVX register or two of SSE or
/// NEON. Passed by reference only: by value, its calling convention depends on the CPU.
namespace semanticvla {

using Lanes8 = float __attribute__((vector_size(32)));
/// A pixel's three channels and one spare lane.
using Lanes4 = float __attribute__((vector_size(16)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE8(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
using LaneIndex8 = int __attribute__((vector_size(32)));
#define SHUFFLE8(a, b, ...) __builtin_shuffle(a, b, LaneIndex8{__VA_ARGS__})
#endif

/// The same types at any address. Not memcpy, which compilers split into halves that go through the
/// stack.
using Unaligned8 = float __attribute__((vector_size(32), aligned(4), may_alias));
using Unaligned4 = float __attribute__((vector_size(16), aligned(4), may_alias));

INLINE void load(Lanes8& lanes, const float* from) {
  lanes = *reinterpret_cast<const Unaligned8*>(from);
}
INLINE void load(Lanes4& lanes, const float* from) {
  lanes = *reinterpret_cast<const Unaligned4*>(from);
}
INLINE void store(float* to, const Lanes8& lanes) { *reinterpret_cast<Unaligned8*>(to) = lanes; }
INLINE void store(float* to, const Lanes4& lanes) { *reinterpret_cast<Unaligned4*>(to) = lanes; }

/// Transposes an 8x8 matrix in place, by shuffles that are single AVX instructions.
INLINE void transpose8(Lanes8 (&m)[8]) {
  Lanes8 a[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = SHUFFLE8(m[i], m[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    a[i + 1] = SHUFFLE8(m[i], m[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  Lanes8 b[8];
  for (int i = 0; i < 8; i += 4) {
    for (int k = 0; k < 2; ++k) {
      b[i + 2 * k] = SHUFFLE8(a[i + k], a[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      b[i + 2 * k + 1] = SHUFFLE8(a[i + k], a[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    m[i] = SHUFFLE8(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    m[i + 4] = SHUFFLE8(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

}  // namespace semanticvla
