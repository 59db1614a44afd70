#include "support/quantizeRows.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "support/lanes.h"

namespace semanticvla {

namespace {

/// Rows at a time: one a lane, so that a column's levels are written together.
constexpr size_t kRows = 8;
/// Adding it leaves the rounded integer in the lowest bits of a float32 (1.5 * 2^23).
constexpr float kRounder = 12582912.0f;

using Ints8 = int32_t __attribute__((vector_size(32)));

/// `columns` of up to `kRows` rows, turned: [columns, kRows], missing rows zero.
INLINE void turn(const float* weights, size_t rows, size_t columns, float* turned) {
  size_t column = 0;
  if (rows == kRows) {
    for (; column + 8 <= columns; column += 8) {
      Lanes8 tile[8];
      for (size_t row = 0; row < 8; ++row) load(tile[row], weights + row * columns + column);
      transpose8(tile);
      for (size_t i = 0; i < 8; ++i) store(turned + (column + i) * kRows, tile[i]);
    }
  }
  for (; column < columns; ++column) {
    for (size_t row = 0; row < kRows; ++row)
      turned[column * kRows + row] = row < rows ? weights[row * columns + column] : 0.0f;
  }
}

/// One block of columns times the Hadamard matrix, by butterflies.
INLINE void rotate(float* columns, size_t block, float norm) {
  for (size_t half = 1; half < block; half *= 2) {
    for (size_t from = 0; from < block; from += 2 * half) {
      for (size_t i = from; i < from + half; ++i) {
        Lanes8 a, b;
        load(a, columns + i * kRows);
        load(b, columns + (i + half) * kRows);
        store(columns + i * kRows, a + b);
        store(columns + (i + half) * kRows, a - b);
      }
    }
  }
  for (size_t i = 0; i < block; ++i) {
    Lanes8 value;
    load(value, columns + i * kRows);
    store(columns + i * kRows, value * norm);
  }
}

/// To the nearest E4M3 number, as its byte. |value| below 464.
INLINE void toE4m3(const Lanes8& value, Ints8& code) {
  const Ints8 bits = (Ints8)value;
  const Ints8 magnitude = bits & 0x7fffffff;
  // three bits of the fraction stay, and the exponent's bias becomes 7 instead of 127
  const Ints8 normal = ((magnitude + 0x7ffff + ((magnitude >> 20) & 1)) >> 20) - (120 << 3);
  // below 2^-6 numbers are multiples of 2^-9
  const Ints8 small = (Ints8)((Lanes8)magnitude * 512.0f + kRounder) - 0x4B400000;
  const Ints8 isSmall = magnitude < 0x3c800000;
  code = ((bits >> 24) & 0x80) | (isSmall & small) | (~isSmall & normal);
}

VECTORIZE bool quantizeLanes(const float* weights, size_t rows, size_t columns, size_t block,
                             LevelFormat format, uint8_t* levels, size_t columnStride,
                             size_t rowStride, float* scales, float* turned) {
  turn(weights, rows, columns, turned);
  const float norm = static_cast<float>(1.0 / std::sqrt(static_cast<double>(block)));
  Lanes8 largest = {};
  // x - x is 0 for every finite x
  Lanes8 poison = {};
  for (size_t at = 0; at < columns; at += block) {
    if (block > 1) rotate(turned + at * kRows, block, norm);
    for (size_t i = at; i < at + block; ++i) {
      Lanes8 value;
      load(value, turned + i * kRows);
      poison += value - value;
      const Lanes8 size = value < 0.0f ? -value : value;
      largest = size > largest ? size : largest;
    }
  }
  Lanes8 divisor;
  for (size_t lane = 0; lane < kRows; ++lane) {
    if (!(poison[lane] == 0.0f)) return false;
    const float scale = largest[lane] / (format == LevelFormat::kInt8 ? 127.0f : 448.0f);
    const bool isUsable = std::isnormal(scale);
    if (lane < rows) scales[lane] = isUsable ? scale : 0.0f;
    divisor[lane] = isUsable ? scale : INFINITY;
  }
  for (size_t column = 0; column < columns; ++column) {
    Lanes8 value;
    load(value, turned + column * kRows);
    const Lanes8 ratio = value / divisor;
    // the cast keeps the bits
    Ints8 whole = (Ints8)(ratio + kRounder) - 0x4B400000;
    if (format == LevelFormat::kE4m3) toE4m3(ratio, whole);
    uint8_t* to = levels + column * columnStride;
    if (rows == kRows && rowStride == 1) {
      for (size_t lane = 0; lane < kRows; ++lane) to[lane] = static_cast<uint8_t>(whole[lane]);
    } else {
      for (size_t lane = 0; lane < rows; ++lane)
        to[lane * rowStride] = static_cast<uint8_t>(whole[lane]);
    }
  }
  return true;
}

VECTORIZE void scaleColumns(float* weights, size_t rows, size_t columns, const float* gamma) {
  for (size_t row = 0; row < rows; ++row) {
    float* own = weights + row * columns;
    for (size_t column = 0; column < columns; ++column) own[column] *= gamma[column];
  }
}

/// `block` rows times the Hadamard matrix, by butterflies.
VECTORIZE void rotateRows(float* weights, size_t block, size_t columns) {
  for (size_t half = 1; half < block; half *= 2) {
    for (size_t from = 0; from < block; from += 2 * half) {
      for (size_t i = from; i < from + half; ++i) {
        float* a = weights + i * columns;
        float* b = weights + (i + half) * columns;
        for (size_t column = 0; column < columns; ++column) {
          const float sum = a[column] + b[column];
          b[column] = a[column] - b[column];
          a[column] = sum;
        }
      }
    }
  }
  const float norm = static_cast<float>(1.0 / std::sqrt(static_cast<double>(block)));
  for (size_t i = 0; i < block * columns; ++i) weights[i] *= norm;
}

}  // namespace

void foldRows(float* weights, size_t rows, size_t columns, const float* gamma, size_t rowBlock) {
  if (gamma != nullptr) scaleColumns(weights, rows, columns, gamma);
  if (rowBlock == 1) return;
  for (size_t row = 0; row < rows; row += rowBlock)
    rotateRows(weights + row * columns, rowBlock, columns);
}

bool quantizeRows(const float* weights, size_t rows, size_t columns, size_t block,
                  LevelFormat format, uint8_t* levels, size_t columnStride, size_t rowStride,
                  float* scales) {
  std::vector<float> turned(columns * kRows);
  for (size_t row = 0; row < rows; row += kRows) {
    const size_t count = std::min(kRows, rows - row);
    if (!quantizeLanes(weights + row * columns, count, columns, block, format,
                       levels + row * rowStride, columnStride, rowStride, scales + row,
                       turned.data()))
      return false;
  }
  return true;
}

}  // namespace semanticvla
