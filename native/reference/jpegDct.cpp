// The arithmetic of libjpeg-turbo's jfdctint (accurate, Loeffler-Ligtenberg-Moschytz),
// quantization, and jidctfst (fast, Arai-Agui-Nakajima) in the 16-bit form of its SIMD code, which
// is what TensorFlow runs. This software is based in part on the work of the Independent JPEG
// Group.

#include "reference/jpegDct.h"

#include <algorithm>
#include <cstring>

#include "support/vectorize.h"

namespace semanticvla::reference {

namespace {

using Tile = int16_t[8][kTileWidth];
using Lanes = int16_t __attribute__((vector_size(16)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Lanes{__VA_ARGS__})
#endif

INLINE Lanes interleaveLow(Lanes a, Lanes b) { return SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
INLINE Lanes interleaveHigh(Lanes a, Lanes b) { return SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }

/// Transposes each 8x8 block of a tile: three rounds of interleaving row i with row i + 4.
INLINE void transpose(const Tile& in, Tile& out) {
  for (int block = 0; block < kTileBlocks; ++block) {
    Lanes a[8];
    Lanes b[8];
    for (int r = 0; r < 8; ++r) std::memcpy(&a[r], &in[r][block * 8], sizeof(Lanes));
    for (int round = 0; round < 3; ++round) {
      for (int r = 0; r < 4; ++r) {
        b[2 * r] = interleaveLow(a[r], a[r + 4]);
        b[2 * r + 1] = interleaveHigh(a[r], a[r + 4]);
      }
      for (int r = 0; r < 8; ++r) a[r] = b[r];
    }
    for (int r = 0; r < 8; ++r) std::memcpy(&out[r][block * 8], &a[r], sizeof(Lanes));
  }
}

// ---- forward, accurate ----

constexpr int kForwardBits = 13;
constexpr int kPassBits = 2;

constexpr int32_t fix13(double x) { return static_cast<int32_t>(x * (1 << kForwardBits) + 0.5); }

template <int Shift>
INLINE int16_t descale(int32_t x) {
  return static_cast<int16_t>((x + (1 << (Shift - 1))) >> Shift);
}

/// One dimension down the columns. The first pass keeps kPassBits more bits, the second takes them
/// off again.
template <bool First>
INLINE void forwardPass(const Tile& in, Tile& out) {
  constexpr int kShift = First ? kForwardBits - kPassBits : kForwardBits + kPassBits;
  for (int c = 0; c < kTileWidth; ++c) {
    const int32_t sum07 = in[0][c] + in[7][c], dif07 = in[0][c] - in[7][c];
    const int32_t sum16 = in[1][c] + in[6][c], dif16 = in[1][c] - in[6][c];
    const int32_t sum25 = in[2][c] + in[5][c], dif25 = in[2][c] - in[5][c];
    const int32_t sum34 = in[3][c] + in[4][c], dif34 = in[3][c] - in[4][c];

    const int32_t even0 = sum07 + sum34, even3 = sum07 - sum34;
    const int32_t even1 = sum16 + sum25, even2 = sum16 - sum25;
    if (First) {
      out[0][c] = static_cast<int16_t>((even0 + even1) * (1 << kPassBits));
      out[4][c] = static_cast<int16_t>((even0 - even1) * (1 << kPassBits));
    } else {
      out[0][c] = descale<kPassBits>(even0 + even1);
      out[4][c] = descale<kPassBits>(even0 - even1);
    }
    const int32_t rotated = (even2 + even3) * fix13(0.541196100);
    out[2][c] = descale<kShift>(rotated + even3 * fix13(0.765366865));
    out[6][c] = descale<kShift>(rotated - even2 * fix13(1.847759065));

    const int32_t z5 = (dif34 + dif16 + dif25 + dif07) * fix13(1.175875602);
    const int32_t z1 = (dif34 + dif07) * -fix13(0.899976223);
    const int32_t z2 = (dif25 + dif16) * -fix13(2.562915447);
    const int32_t z3 = (dif34 + dif16) * -fix13(1.961570560) + z5;
    const int32_t z4 = (dif25 + dif07) * -fix13(0.390180644) + z5;
    out[7][c] = descale<kShift>(dif34 * fix13(0.298631336) + z1 + z3);
    out[5][c] = descale<kShift>(dif25 * fix13(2.053119869) + z2 + z4);
    out[3][c] = descale<kShift>(dif16 * fix13(3.072711026) + z2 + z3);
    out[1][c] = descale<kShift>(dif07 * fix13(1.501321110) + z1 + z4);
  }
}

// ---- quantization and back ----

INLINE uint16_t highProduct(uint16_t a, uint16_t b) {
  return static_cast<uint16_t>((static_cast<uint32_t>(a) * b) >> 16);
}

/// Rounded division by the step, then the step times the inverse transform's scale.
INLINE void quantize(Tile& tile, const JpegQuantization& table) {
  for (int r = 0; r < 8; ++r) {
    for (int c = 0; c < kTileWidth; ++c) {
      const int16_t sign = static_cast<int16_t>(tile[r][c] >> 15);
      const uint16_t magnitude = static_cast<uint16_t>((tile[r][c] ^ sign) - sign);
      const uint16_t rounded = static_cast<uint16_t>(magnitude + table.half[r][c]);
      const uint16_t level =
          highProduct(highProduct(rounded, table.reciprocal[r][c]), table.shift[r][c]);
      tile[r][c] =
          static_cast<int16_t>(static_cast<int16_t>((level ^ sign) - sign) * table.inverse[r][c]);
    }
  }
}

// ---- inverse, fast ----

/// x * factor / 256 in the SIMD code's way: the operand is shifted left by two within 16 bits, and
/// the high half of the product with the factor * 64 taken. Equal to a plain shift unless |x| >=
/// 8192.
INLINE int16_t scaled(int16_t x, int16_t factor) {
  const int16_t shifted = static_cast<int16_t>(static_cast<uint16_t>(x) << 2);
  return static_cast<int16_t>((static_cast<int32_t>(shifted) * static_cast<int16_t>(factor * 64)) >>
                              16);
}

INLINE int16_t add(int16_t a, int16_t b) {
  return static_cast<int16_t>(static_cast<uint16_t>(a) + static_cast<uint16_t>(b));
}
INLINE int16_t sub(int16_t a, int16_t b) {
  return static_cast<int16_t>(static_cast<uint16_t>(a) - static_cast<uint16_t>(b));
}

/// Factors times 256: sqrt(2), 2 cos(pi/8), 2 (cos(pi/8) - cos(3 pi/8)), and 2 (cos(pi/8) + cos(3
/// pi/8)) - 1.
constexpr int16_t kF1414 = 362;
constexpr int16_t kF1847 = 473;
constexpr int16_t kF1082 = 277;
constexpr int16_t kF1613 = 669 - 256;

/// One dimension down the columns, 16-bit arithmetic that wraps as the SIMD instructions do.
INLINE void inversePass(const Tile& in, Tile& out) {
  for (int c = 0; c < kTileWidth; ++c) {
    const int16_t sum04 = add(in[0][c], in[4][c]), dif04 = sub(in[0][c], in[4][c]);
    const int16_t sum26 = add(in[2][c], in[6][c]);
    const int16_t dif26 = sub(scaled(sub(in[2][c], in[6][c]), kF1414), sum26);
    const int16_t even0 = add(sum04, sum26), even3 = sub(sum04, sum26);
    const int16_t even1 = add(dif04, dif26), even2 = sub(dif04, dif26);

    const int16_t z13 = add(in[5][c], in[3][c]), z10 = sub(in[5][c], in[3][c]);
    const int16_t z11 = add(in[1][c], in[7][c]), z12 = sub(in[1][c], in[7][c]);
    const int16_t odd7 = add(z11, z13);
    const int16_t t11 = scaled(sub(z11, z13), kF1414);
    const int16_t z5 = scaled(add(z10, z12), kF1847);
    const int16_t t10 = sub(scaled(z12, kF1082), z5);
    // -2.613 z10 + z5 with the factor's whole part taken out, which would not fit.
    const int16_t t12 = add(sub(scaled(z10, -kF1613), z10), z5);
    const int16_t odd6 = sub(t12, odd7);
    const int16_t odd5 = sub(t11, odd6);
    const int16_t odd4 = add(t10, odd5);

    out[0][c] = add(even0, odd7);
    out[7][c] = sub(even0, odd7);
    out[1][c] = add(even1, odd6);
    out[6][c] = sub(even1, odd6);
    out[2][c] = add(even2, odd5);
    out[5][c] = sub(even2, odd5);
    out[4][c] = add(even3, odd4);
    out[3][c] = sub(even3, odd4);
  }
}

/// The inverse transform's extra bits and its factor 8.
constexpr int kOutputShift = 5;

}  // namespace

VECTORIZE void jpegTransformStrip(const uint8_t* in, ptrdiff_t inStride, int width,
                                  const JpegQuantization& table, uint8_t* out,
                                  ptrdiff_t outStride) {
  alignas(64) Tile a;
  alignas(64) Tile b;
  for (int x = 0; x < width; x += kTileWidth) {
    for (int r = 0; r < 8; ++r) {
      const uint8_t* row = in + r * inStride + x;
      for (int c = 0; c < kTileWidth; ++c) a[r][c] = static_cast<int16_t>(row[c] - 128);
    }
    // The passes run down columns, so a pass along rows is one between two transpositions.
    transpose(a, b);
    forwardPass<true>(b, a);
    transpose(a, b);
    forwardPass<false>(b, a);
    quantize(a, table);
    inversePass(a, b);
    transpose(b, a);
    inversePass(a, b);
    transpose(b, a);
    for (int r = 0; r < 8; ++r) {
      uint8_t* row = out + r * outStride + x;
      for (int c = 0; c < kTileWidth; ++c) {
        const int16_t sample = static_cast<int16_t>(a[r][c] >> kOutputShift);
        row[c] = static_cast<uint8_t>(std::clamp<int16_t>(sample, -128, 127) + 128);
      }
    }
  }
}

}  // namespace semanticvla::reference
