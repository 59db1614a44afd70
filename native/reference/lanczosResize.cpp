#include "reference/lanczosResize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "support/lanes.h"
#include "support/vectorize.h"

namespace semanticvla::reference {

namespace {

constexpr float kRadius = 3.0f;

float lanczos(float x) {
  constexpr float kPi = 3.14159265359f;
  if (x > kRadius) return 0.0f;
  // Limit of sin(x) / x, cut off where TensorFlow cuts it.
  if (x <= 1e-3f) return 1.0f;
  return kRadius * std::sin(kPi * x) * std::sin(kPi * x / kRadius) / (kPi * kPi * x * x);
}

constexpr int roundUp(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Output rows that go through both passes together, one per lane: the horizontal pass then fills
/// all lanes and gathers no pixels.
constexpr int kRows = 8;
/// Output pixels that go from the horizontal pass to bytes while they are in the nearest cache.
constexpr int kPixels = 32;
/// Columns of the vertical pass that share a broadcast weight.
constexpr int kColumns = 32;

VECTORIZE void toFloats(const uint8_t* __restrict in, int count, float* __restrict out) {
  for (int i = 0; i < count; ++i) out[i] = static_cast<float>(in[i]);
}

/// Vertical pass of kRows output rows, transposed: `out[column * kRows + row]` = sum over k of
/// `weights[row][k] * rows[first[row] + k][column]`, taps in ascending order from zero, as
/// TensorFlow adds. `columns` is a multiple of kColumns.
VECTORIZE void verticalPass(const float* const* rows, const int* first, const float* const* weights,
                            int taps, int columns, float* __restrict out) {
  for (int column = 0; column < columns; column += kColumns) {
    Lanes8 sums[kColumns / 8][kRows];
    for (int r = 0; r < kRows; ++r) {
      const float* const* from = rows + first[r];
      Lanes8 sum[kColumns / 8] = {};
      for (int k = 0; k < taps; ++k) {
        const float* row = from[k] + column;
        for (int i = 0; i < kColumns / 8; ++i) {
          Lanes8 value;
          load(value, row + i * 8);
          sum[i] += weights[r][k] * value;
        }
      }
      for (int i = 0; i < kColumns / 8; ++i) sums[i][r] = sum[i];
    }
    for (int i = 0; i < kColumns / 8; ++i) {
      transpose8(sums[i]);
      for (int k = 0; k < 8; ++k)
        store(out + (static_cast<size_t>(column) + i * 8 + k) * kRows, sums[i][k]);
    }
  }
}

/// Horizontal pass of the same rows: `in` as above with `taps` more pixels of zeros, `out` [width *
/// 3, kRows].
VECTORIZE void horizontalPass(const float* __restrict in, const int* __restrict start,
                              const float* __restrict weights, int taps, int width,
                              float* __restrict out) {
  for (int x = 0; x < width; ++x) {
    const float* pixel = in + static_cast<size_t>(start[x]) * 3 * kRows;
    const float* weight = weights + static_cast<size_t>(x) * taps;
    Lanes8 red = {};
    Lanes8 green = {};
    Lanes8 blue = {};
    for (int k = 0; k < taps; ++k) {
      Lanes8 value;
      load(value, pixel + k * 3 * kRows);
      red += weight[k] * value;
      load(value, pixel + (k * 3 + 1) * kRows);
      green += weight[k] * value;
      load(value, pixel + (k * 3 + 2) * kRows);
      blue += weight[k] * value;
    }
    float* to = out + static_cast<size_t>(x) * 3 * kRows;
    store(to, red);
    store(to + kRows, green);
    store(to + 2 * kRows, blue);
  }
}

/// The same rows back in order, rounded: `in` [padded, kRows] to `rows` rows of [count] uint8.
/// `padded` is `count` rounded up to 8, `scratch` holds [kRows, padded].
VECTORIZE void roundRows(const float* __restrict in, int count, int padded, int rows,
                         float* __restrict scratch, uint8_t* __restrict out, size_t outStride) {
  // Adding 1.5 * 2^23 rounds to the nearest integer, half to even, in the default rounding mode.
  constexpr float kRound = 12582912.0f;
  for (int i = 0; i < padded; i += 8) {
    Lanes8 block[8];
    for (int k = 0; k < 8; ++k) load(block[k], in + static_cast<size_t>(i + k) * kRows);
    transpose8(block);
    for (int r = 0; r < kRows; ++r) store(scratch + static_cast<size_t>(r) * padded + i, block[r]);
  }
  for (int r = 0; r < rows; ++r) {
    const float* __restrict from = scratch + static_cast<size_t>(r) * padded;
    uint8_t* __restrict to = out + static_cast<size_t>(r) * outStride;
    for (int i = 0; i < count; ++i) {
      const int rounded = static_cast<int>((from[i] + kRound) - kRound);
      to[i] = static_cast<uint8_t>(std::min(std::max(rounded, 0), 255));
    }
  }
}

}  // namespace

ResizeAxis lanczosAxis(int inSize, int outSize) {
  const float scale = static_cast<float>(outSize) / static_cast<float>(inSize);
  const float inverse = 1.0f / scale;
  const float stretch = std::max(inverse, 1.0f);
  const float reach = kRadius * stretch;
  const float oneOverStretch = 1.0f / stretch;
  ResizeAxis axis;
  axis.inSize = inSize;
  std::vector<int> count(outSize);
  for (int i = 0; i < outSize; ++i) {
    const float centre = (static_cast<float>(i) + 0.5f) * inverse;
    const int first = std::clamp(static_cast<int>(std::ceil(centre - reach - 0.5f)), 0, inSize - 1);
    const int last = std::clamp(static_cast<int>(std::floor(centre + reach - 0.5f)), 0, inSize - 1);
    axis.start.push_back(first);
    count[i] = last - first + 1;
    axis.taps = std::max(axis.taps, count[i]);
  }
  axis.weights.assign(static_cast<size_t>(outSize) * axis.taps, 0.0f);
  for (int i = 0; i < outSize; ++i) {
    const float centre = (static_cast<float>(i) + 0.5f) * inverse;
    float* weights = axis.weights.data() + static_cast<size_t>(i) * axis.taps;
    float total = 0.0f;
    for (int k = 0; k < count[i]; ++k) {
      weights[k] = lanczos(
          std::abs((static_cast<float>(axis.start[i] + k) + 0.5f - centre) * oneOverStretch));
      total += weights[k];
    }
    // TensorFlow's threshold, below which it leaves the pixel black.
    const float normalize =
        std::abs(total) < 1000.0f * std::numeric_limits<float>::min() ? 0.0f : 1.0f / total;
    for (int k = 0; k < count[i]; ++k) weights[k] *= normalize;
  }
  return axis;
}

void lanczosResize(const uint8_t* rgb, const ResizeAxis& vertical, const ResizeAxis& horizontal,
                   Team& team, uint8_t* out) {
  const int outWidth = static_cast<int>(horizontal.start.size());
  const int outHeight = static_cast<int>(vertical.start.size());
  const int inColumns = horizontal.inSize * 3;
  const int inPadded = roundUp(inColumns, kColumns);
  const int outColumns = outWidth * 3;
  team.runRows(outHeight, kRows, [&](int begin, int end) {
    // Zeros past the last column: a pixel at the border has fewer taps than the table is wide.
    std::vector<float> tall((static_cast<size_t>(inPadded) + horizontal.taps * 3) * kRows);
    std::vector<float> wide(static_cast<size_t>(kPixels) * 3 * kRows);
    std::vector<float> lines(wide.size());
    // Input rows as floats, each converted once: a ring that holds those of one group.
    int ringRows = 0;
    for (int y = begin; y < end; y += kRows) {
      const int lastRow = std::min(y + kRows, outHeight) - 1;
      ringRows = std::max(ringRows, vertical.start[lastRow] - vertical.start[y] + vertical.taps);
    }
    std::vector<float> ring(static_cast<size_t>(ringRows) * inPadded);
    std::vector<const float*> rows;
    int converted = vertical.start[begin];
    for (int y = begin; y < end; y += kRows) {
      int first[kRows];
      const float* weights[kRows];
      const int top = vertical.start[y];
      for (int r = 0; r < kRows; ++r) {
        // Lanes past the last row compute it once more.
        const int row = std::min(y + r, outHeight - 1);
        first[r] = vertical.start[row] - top;
        weights[r] = vertical.weights.data() + static_cast<size_t>(row) * vertical.taps;
      }
      const int bottom = top + first[kRows - 1] + vertical.taps;
      for (; converted < bottom; ++converted) {
        // Rows past the image meet weights of zero.
        const int row = std::min(converted, vertical.inSize - 1);
        toFloats(rgb + static_cast<size_t>(row) * inColumns, inColumns,
                 ring.data() + static_cast<size_t>(converted % ringRows) * inPadded);
      }
      rows.clear();
      for (int row = top; row < bottom; ++row) {
        rows.push_back(ring.data() + static_cast<size_t>(row % ringRows) * inPadded);
      }
      verticalPass(rows.data(), first, weights, vertical.taps, inPadded, tall.data());
      for (int x = 0; x < outWidth; x += kPixels) {
        const int pixels = std::min(kPixels, outWidth - x);
        horizontalPass(tall.data(), horizontal.start.data() + x,
                       horizontal.weights.data() + static_cast<size_t>(x) * horizontal.taps,
                       horizontal.taps, pixels, wide.data());
        roundRows(
            wide.data(), pixels * 3, roundUp(pixels * 3, 8), std::min(kRows, end - y), lines.data(),
            out + static_cast<size_t>(y) * outColumns + static_cast<size_t>(x) * 3, outColumns);
      }
    }
  });
}

}  // namespace semanticvla::reference
