#pragma once

// The arithmetic of libjpeg-turbo's jfdctint (accurate), quantization and jidctfst (fast, the
// 16-bit form of its SIMD code), as native/reference/jpegDct.cpp has it for the CPU, for eight
// values that one thread holds. This software is based in part on the work of the Independent JPEG
// Group.

#include <cuda_runtime.h>

#include <cstdint>

#include "reference/jpegTables.h"

namespace semanticvla::kernels {

/// One block of reference::JpegQuantization, in arrays that device code may index.
struct Quantization {
  uint16_t half[64];
  uint16_t reciprocal[64];
  uint16_t shift[64];
  int16_t inverse[64];
};

constexpr Quantization quantizationOf(const reference::JpegQuantization& table) {
  Quantization out{};
  for (int i = 0; i < 64; ++i) {
    out.half[i] = table.half[i / 8][i % 8];
    out.reciprocal[i] = table.reciprocal[i / 8][i % 8];
    out.shift[i] = table.shift[i / 8][i % 8];
    out.inverse[i] = table.inverse[i / 8][i % 8];
  }
  return out;
}

constexpr int kForwardBits = 13;
constexpr int kPassBits = 2;

/// x * 2^13, rounded, for the constants of the forward transform.
#define FIX13(x) (static_cast<int32_t>((x) * (1 << kForwardBits) + 0.5))

template <int Shift>
__device__ inline int16_t descale(int32_t x) {
  return static_cast<int16_t>((x + (1 << (Shift - 1))) >> Shift);
}

/// One dimension. The first pass keeps kPassBits more bits, the second takes them off again.
template <bool First>
__device__ inline void forwardPass(int16_t (&v)[8]) {
  constexpr int kShift = First ? kForwardBits - kPassBits : kForwardBits + kPassBits;
  const int32_t sum07 = v[0] + v[7], dif07 = v[0] - v[7];
  const int32_t sum16 = v[1] + v[6], dif16 = v[1] - v[6];
  const int32_t sum25 = v[2] + v[5], dif25 = v[2] - v[5];
  const int32_t sum34 = v[3] + v[4], dif34 = v[3] - v[4];

  const int32_t even0 = sum07 + sum34, even3 = sum07 - sum34;
  const int32_t even1 = sum16 + sum25, even2 = sum16 - sum25;
  if (First) {
    v[0] = static_cast<int16_t>((even0 + even1) * (1 << kPassBits));
    v[4] = static_cast<int16_t>((even0 - even1) * (1 << kPassBits));
  } else {
    v[0] = descale<kPassBits>(even0 + even1);
    v[4] = descale<kPassBits>(even0 - even1);
  }
  const int32_t rotated = (even2 + even3) * FIX13(0.541196100);
  v[2] = descale<kShift>(rotated + even3 * FIX13(0.765366865));
  v[6] = descale<kShift>(rotated - even2 * FIX13(1.847759065));

  const int32_t z5 = (dif34 + dif16 + dif25 + dif07) * FIX13(1.175875602);
  const int32_t z1 = (dif34 + dif07) * -FIX13(0.899976223);
  const int32_t z2 = (dif25 + dif16) * -FIX13(2.562915447);
  const int32_t z3 = (dif34 + dif16) * -FIX13(1.961570560) + z5;
  const int32_t z4 = (dif25 + dif07) * -FIX13(0.390180644) + z5;
  v[7] = descale<kShift>(dif34 * FIX13(0.298631336) + z1 + z3);
  v[5] = descale<kShift>(dif25 * FIX13(2.053119869) + z2 + z4);
  v[3] = descale<kShift>(dif16 * FIX13(3.072711026) + z2 + z3);
  v[1] = descale<kShift>(dif07 * FIX13(1.501321110) + z1 + z4);
}

#undef FIX13

__device__ inline uint16_t highProduct(uint16_t a, uint16_t b) {
  return static_cast<uint16_t>((static_cast<uint32_t>(a) * b) >> 16);
}

/// Rounded division by the step, then the step times the inverse transform's scale; `k` is the
/// coefficient's place in its block.
__device__ inline int16_t quantize(int16_t coefficient, const Quantization& table, int k) {
  const int16_t sign = static_cast<int16_t>(coefficient >> 15);
  const uint16_t magnitude = static_cast<uint16_t>((coefficient ^ sign) - sign);
  const uint16_t rounded = static_cast<uint16_t>(magnitude + table.half[k]);
  const uint16_t level = highProduct(highProduct(rounded, table.reciprocal[k]), table.shift[k]);
  return static_cast<int16_t>(static_cast<int16_t>((level ^ sign) - sign) * table.inverse[k]);
}

/// x * factor / 256: the operand is shifted left by two within 16 bits, and the high half of the
/// product with the factor * 64 taken.
__device__ inline int16_t scaled(int16_t x, int32_t factor) {
  const int16_t shifted = static_cast<int16_t>(static_cast<uint16_t>(x) << 2);
  return static_cast<int16_t>((static_cast<int32_t>(shifted) * static_cast<int16_t>(factor * 64)) >>
                              16);
}

/// 16-bit sums that wrap.
__device__ inline int16_t add(int16_t a, int16_t b) {
  return static_cast<int16_t>(static_cast<uint16_t>(a) + static_cast<uint16_t>(b));
}
__device__ inline int16_t sub(int16_t a, int16_t b) {
  return static_cast<int16_t>(static_cast<uint16_t>(a) - static_cast<uint16_t>(b));
}

/// One dimension of the fast inverse transform.
__device__ inline void inversePass(int16_t (&v)[8]) {
  // Factors times 256: sqrt(2), 2 cos(pi/8), 2 (cos(pi/8) - cos(3 pi/8)), and
  // 2 (cos(pi/8) + cos(3 pi/8)) less 1.
  constexpr int32_t kF1414 = 362, kF1847 = 473, kF1082 = 277, kF1613 = 669 - 256;
  const int16_t sum04 = add(v[0], v[4]), dif04 = sub(v[0], v[4]);
  const int16_t sum26 = add(v[2], v[6]);
  const int16_t dif26 = sub(scaled(sub(v[2], v[6]), kF1414), sum26);
  const int16_t even0 = add(sum04, sum26), even3 = sub(sum04, sum26);
  const int16_t even1 = add(dif04, dif26), even2 = sub(dif04, dif26);

  const int16_t z13 = add(v[5], v[3]), z10 = sub(v[5], v[3]);
  const int16_t z11 = add(v[1], v[7]), z12 = sub(v[1], v[7]);
  const int16_t odd7 = add(z11, z13);
  const int16_t t11 = scaled(sub(z11, z13), kF1414);
  const int16_t z5 = scaled(add(z10, z12), kF1847);
  const int16_t t10 = sub(scaled(z12, kF1082), z5);
  // -2.613 z10 + z5 with the factor's whole part taken out, which would not fit.
  const int16_t t12 = add(sub(scaled(z10, -kF1613), z10), z5);
  const int16_t odd6 = sub(t12, odd7);
  const int16_t odd5 = sub(t11, odd6);
  const int16_t odd4 = add(t10, odd5);

  v[0] = add(even0, odd7);
  v[7] = sub(even0, odd7);
  v[1] = add(even1, odd6);
  v[6] = sub(even1, odd6);
  v[2] = add(even2, odd5);
  v[5] = sub(even2, odd5);
  v[4] = add(even3, odd4);
  v[3] = sub(even3, odd4);
}

/// A sample from the inverse transform, which leaves it 32 times too large, and level-shifted.
__device__ inline uint8_t sampleOf(int16_t x) {
  const int sample = x >> 5;
  return static_cast<uint8_t>((sample < -128 ? -128 : sample > 127 ? 127 : sample) + 128);
}

}  // namespace semanticvla::kernels
