#include "support/lowRank.h"

#include <algorithm>
#include <vector>

#include "support/lanes.h"

namespace semanticvla {

namespace {

constexpr size_t kRows = 4;
/// Two registers a row: with four rows the sums are as many as hide the latency of an addition.
constexpr size_t kColumns = 16;

/// `kCount` rows of `kColumns` weights. `a`: [rank, kColumns]. What is not finite leaves NaN in
/// `poison`: x - x is 0 for every finite x.
template <size_t kCount>
INLINE void addTile(float* weights, size_t stride, const float* a, const float* b, size_t rank,
                    Lanes8& poison) {
  Lanes8 sums[kCount][2] = {};
  for (size_t k = 0; k < rank; ++k) {
    Lanes8 left, right;
    load(left, a + k * kColumns);
    load(right, a + k * kColumns + 8);
    for (size_t row = 0; row < kCount; ++row) {
      sums[row][0] += left * b[row * rank + k];
      sums[row][1] += right * b[row * rank + k];
    }
  }
  for (size_t row = 0; row < kCount; ++row) {
    for (size_t half = 0; half < 2; ++half) {
      Lanes8 value;
      load(value, weights + row * stride + half * 8);
      value += sums[row][half];
      store(weights + row * stride + half * 8, value);
      poison += value - value;
    }
  }
}

/// Rows of a multiple of `kColumns`, and `a` cut into tiles: [columns / kColumns, rank, kColumns].
VECTORIZE bool addTiles(float* weights, size_t rows, size_t columns, size_t stride, const float* a,
                        const float* b, size_t rank) {
  Lanes8 poison = {};
  for (size_t row = 0; row < rows;) {
    const bool isWhole = rows - row >= kRows;
    for (size_t at = 0; at < columns; at += kColumns) {
      float* tile = weights + row * stride + at;
      if (isWhole)
        addTile<kRows>(tile, stride, a + at * rank, b + row * rank, rank, poison);
      else
        addTile<1>(tile, stride, a + at * rank, b + row * rank, rank, poison);
    }
    row += isWhole ? kRows : 1;
  }
  for (int lane = 0; lane < 8; ++lane) {
    if (poison[lane] != 0) return false;
  }
  return true;
}

}  // namespace

bool addLowRank(float* weights, size_t rows, size_t columns, const float* a, const float* b,
                size_t rank) {
  const size_t whole = columns / kColumns * kColumns;
  const size_t rest = columns - whole;
  // the last columns are filled up with zeros to a tile of their own
  std::vector<float> tiles((whole + (rest > 0 ? kColumns : 0)) * rank);
  for (size_t k = 0; k < rank; ++k) {
    for (size_t j = 0; j < columns; ++j)
      tiles[(j / kColumns * rank + k) * kColumns + j % kColumns] = a[k * columns + j];
  }
  bool isFinite = addTiles(weights, rows, whole, columns, tiles.data(), b, rank);
  for (size_t row = 0; rest > 0 && row < rows; ++row) {
    float last[kColumns] = {};
    float* from = weights + row * columns + whole;
    std::copy(from, from + rest, last);
    isFinite &=
        addTiles(last, 1, kColumns, kColumns, tiles.data() + whole * rank, b + row * rank, rank);
    std::copy(last, last + rest, from);
  }
  return isFinite;
}

}  // namespace semanticvla
