#include "reference/jpegRoundTrip.h"

#include <algorithm>

#include "reference/jpegColor.h"
#include "reference/jpegDct.h"

namespace semanticvla::reference {

namespace {

/// Rows of an MCU: 16 of luma, 8 of chroma.
constexpr int kMcuRows = 16;

constexpr int roundUp(int value, int multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

struct Geometry {
  int width;
  int height;
  /// Samples the decoder sees of a chroma row or column.
  int chromaWidth;
  int chromaHeight;
  /// Row lengths of the planes: whole tiles. Columns past the last block are computed and never
  /// read.
  int lumaStride;
  int chromaStride;
  int mcuRows;
};

Geometry geometryOf(int width, int height) {
  Geometry g{};
  g.width = width;
  g.height = height;
  g.chromaWidth = (width + 1) / 2;
  g.chromaHeight = (height + 1) / 2;
  g.lumaStride = roundUp(width, kTileWidth);
  g.chromaStride = roundUp(g.chromaWidth, kTileWidth);
  g.mcuRows = (height + kMcuRows - 1) / kMcuRows;
  return g;
}

/// Encoder and inverse transform of MCU rows [begin, end).
void encodeMcuRows(const uint8_t* rgb, const Geometry& g, int begin, int end, JpegWorkspace& work) {
  // Full-resolution rows, wide enough for both paddings.
  const int stride = std::max(g.lumaStride, 2 * g.chromaStride);
  std::vector<uint8_t> luma(static_cast<size_t>(kMcuRows) * stride);
  std::vector<uint8_t> full(static_cast<size_t>(4) * stride);
  std::vector<uint8_t> chroma(static_cast<size_t>(2) * 8 * g.chromaStride);
  uint8_t* cbSmall = chroma.data();
  uint8_t* crSmall = cbSmall + static_cast<size_t>(8) * g.chromaStride;
  for (int mcu = begin; mcu < end; ++mcu) {
    for (int pair = 0; pair < 8; ++pair) {
      // Past the bottom, luma repeats the last row and chroma the last downsampled row.
      const int chromaRow = std::min(mcu * 8 + pair, g.chromaHeight - 1);
      const bool repeated = chromaRow != mcu * 8 + pair;
      for (int k = 0; k < 2; ++k) {
        const int row = std::min((repeated ? chromaRow : mcu * 8 + pair) * 2 + (repeated ? 1 : k),
                                 g.height - 1);
        rgbToYccRow(rgb + static_cast<size_t>(row) * g.width * 3, g.width, stride,
                    luma.data() + (2 * pair + k) * static_cast<size_t>(stride),
                    full.data() + 2 * k * stride, full.data() + (2 * k + 1) * stride);
      }
      uint8_t* cbRow = cbSmall + pair * g.chromaStride;
      uint8_t* crRow = crSmall + pair * g.chromaStride;
      if (repeated) {
        std::copy_n(cbRow - g.chromaStride, g.chromaStride, cbRow);
        std::copy_n(crRow - g.chromaStride, g.chromaStride, crRow);
      } else {
        downsampleRow(full.data(), full.data() + 2 * stride, g.chromaStride, cbRow);
        downsampleRow(full.data() + stride, full.data() + 3 * stride, g.chromaStride, crRow);
      }
    }
    for (int half = 0; half < 2; ++half) {
      jpegTransformStrip(
          luma.data() + static_cast<size_t>(half) * 8 * stride, stride, g.lumaStride, kLuminance,
          work.planes[0].data() + (static_cast<size_t>(mcu) * 16 + half * 8) * g.lumaStride,
          g.lumaStride);
    }
    const size_t at = static_cast<size_t>(mcu) * 8 * g.chromaStride;
    jpegTransformStrip(cbSmall, g.chromaStride, g.chromaStride, kChrominance,
                       work.planes[1].data() + at, g.chromaStride);
    jpegTransformStrip(crSmall, g.chromaStride, g.chromaStride, kChrominance,
                       work.planes[2].data() + at, g.chromaStride);
  }
}

/// Upsampling and color of output rows [begin, end).
void decodeRows(const JpegWorkspace& work, const Geometry& g, int begin, int end, uint8_t* out) {
  std::vector<int16_t> scratch(g.chromaWidth + 2);
  std::vector<uint8_t> cb(static_cast<size_t>(2) * g.chromaWidth);
  std::vector<uint8_t> cr(cb.size());
  for (int row = begin; row < end; ++row) {
    const int near = row / 2;
    // The other chroma row a pixel lies next to; the border rows are their own neighbours.
    const int far = std::clamp(row % 2 == 0 ? near - 1 : near + 1, 0, g.chromaHeight - 1);
    for (int plane = 1; plane <= 2; ++plane) {
      const uint8_t* samples = work.planes[plane].data();
      const uint8_t* nearRow = samples + static_cast<size_t>(near) * g.chromaStride;
      uint8_t* wide = plane == 1 ? cb.data() : cr.data();
      // libjpeg filters only rows of more than two samples.
      if (g.chromaWidth > 2) {
        upsampleRow(nearRow, samples + static_cast<size_t>(far) * g.chromaStride, g.chromaWidth,
                    scratch.data(), wide);
      } else {
        replicateRow(nearRow, g.chromaWidth, wide);
      }
    }
    yccToRgbRow(work.planes[0].data() + static_cast<size_t>(row) * g.lumaStride, cb.data(),
                cr.data(), g.width, out + static_cast<size_t>(row) * g.width * 3);
  }
}

}  // namespace

void jpegRoundTrip(const uint8_t* rgb, int width, int height, JpegWorkspace& work, Team& team,
                   uint8_t* out) {
  const Geometry g = geometryOf(width, height);
  work.planes[0].resize(static_cast<size_t>(g.mcuRows) * 16 * g.lumaStride);
  work.planes[1].resize(static_cast<size_t>(g.mcuRows) * 8 * g.chromaStride);
  work.planes[2].resize(work.planes[1].size());
  team.runRows(g.mcuRows, 1, [&](int begin, int end) { encodeMcuRows(rgb, g, begin, end, work); });
  team.runRows(height, 2, [&](int begin, int end) { decodeRows(work, g, begin, end, out); });
}

}  // namespace semanticvla::reference
