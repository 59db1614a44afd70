#pragma once

#include <array>
#include <cstdint>

namespace semanticvla::reference {

/// The reference's encoder quality.
constexpr int kJpegQuality = 95;

/// Standard luminance and chrominance quantization tables (ITU-T T.81, Annex K), row-major.
constexpr std::array<uint8_t, 64> kLuminanceTable = {
    16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,  //
    14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,  //
    18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,  //
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};
constexpr std::array<uint8_t, 64> kChrominanceTable = {
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,  //
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99};

/// Scale factors of the fast inverse DCT (Arai, Agui, Nakajima): s(row) * s(column) * 2^14 with
/// s(0) = 1, s(k) = cos(k pi / 16) * sqrt(2), as libjpeg rounds them.
constexpr std::array<int32_t, 64> kFastScales = {
    16384, 22725, 21407, 19266, 16384, 12873, 8867,  4520,  //
    22725, 31521, 29692, 26722, 22725, 17855, 12299, 6270,  //
    21407, 29692, 27969, 25172, 21407, 16819, 11585, 5906,  //
    19266, 26722, 25172, 22654, 19266, 15137, 10426, 5315,  //
    16384, 22725, 21407, 19266, 16384, 12873, 8867,  4520,  //
    12873, 17855, 16819, 15137, 12873, 10114, 6967,  3552,  //
    8867,  12299, 11585, 10426, 8867,  6967,  4799,  2446,  //
    4520,  6270,  5906,  5315,  4520,  3552,  2446,  1247};

/// Blocks side by side in a tile: the transforms run over its columns at once.
constexpr int kTileBlocks = 4;
constexpr int kTileWidth = 8 * kTileBlocks;

/// Everything a coefficient meets between the two transforms, for each coefficient of a tile.
struct JpegQuantization {
  template <typename T>
  using PerTile = std::array<std::array<T, kTileWidth>, 8>;

  /// Half the step of the forward coefficients (which carry a factor 8), for rounding.
  PerTile<uint16_t> half;
  /// floor(a / step) = ((a * reciprocal) >> 16) * shift >> 16 for every a < 2^15.
  PerTile<uint16_t> reciprocal;
  PerTile<uint16_t> shift;
  /// Step times the fast inverse DCT's scale, with its two extra bits.
  PerTile<int16_t> inverse;
};

constexpr JpegQuantization makeQuantization(const std::array<uint8_t, 64>& base) {
  JpegQuantization table{};
  // libjpeg's quality scaling above 50, baseline limits.
  constexpr int kScale = 200 - 2 * kJpegQuality;
  for (int row = 0; row < 8; ++row) {
    for (int column = 0; column < kTileWidth; ++column) {
      const int i = row * 8 + column % 8;
      int step = (base[i] * kScale + 50) / 100;
      if (step < 1) step = 1;
      if (step > 255) step = 255;
      const uint32_t divisor = static_cast<uint32_t>(step) * 8;
      int bits = 0;
      while ((1u << bits) < divisor) ++bits;
      table.half[row][column] = static_cast<uint16_t>(divisor / 2);
      table.reciprocal[row][column] =
          static_cast<uint16_t>(((1u << (15 + bits)) + divisor - 1) / divisor);
      table.shift[row][column] = static_cast<uint16_t>(1u << (17 - bits));
      table.inverse[row][column] = static_cast<int16_t>((step * kFastScales[i] + (1 << 11)) >> 12);
    }
  }
  return table;
}

constexpr JpegQuantization kLuminance = makeQuantization(kLuminanceTable);
constexpr JpegQuantization kChrominance = makeQuantization(kChrominanceTable);

}  // namespace semanticvla::reference
