#pragma once

#include <cstdint>

namespace semanticvla::reference {

/// One row, [width, 3] RGB to three rows of `padded` samples; the last pixel is repeated (libjpeg's
/// edge expansion).
void rgbToYccRow(const uint8_t* rgb, int width, int padded, uint8_t* y, uint8_t* cb, uint8_t* cr);

/// 4:2:0: two rows of [2 * width] samples to one of [width]; rounding alternates between columns.
void downsampleRow(const uint8_t* upper, const uint8_t* lower, int width, uint8_t* out);

/// Scratch of `upsampleRow`: at least `width` + 2 elements.
using UpsampleScratch = int16_t*;

/// "Fancy" (triangle filter) upsampling of one output row: `near` is the chroma row it lies in,
/// `far` the next nearest, both [width]; `out` is [2 * width].
void upsampleRow(const uint8_t* near, const uint8_t* far, int width, UpsampleScratch scratch,
                 uint8_t* out);

/// Plain repetition, which the decoder uses for rows of one or two chroma samples.
void replicateRow(const uint8_t* in, int width, uint8_t* out);

/// Three rows of [width] to [width, 3] RGB.
void yccToRgbRow(const uint8_t* y, const uint8_t* cb, const uint8_t* cr, int width, uint8_t* rgb);

}  // namespace semanticvla::reference
