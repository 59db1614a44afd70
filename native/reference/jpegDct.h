#pragma once

#include <cstddef>
#include <cstdint>

#include "reference/jpegTables.h"

namespace semanticvla::reference {

/// What a JPEG encoder and decoder do to 8 rows of one component, without the lossless entropy
/// coding between them: accurate forward DCT, quantization, dequantization, fast inverse DCT. `in`
/// and `out` are [8, width] uint8 with their own strides; `width` is a multiple of kTileWidth.
void jpegTransformStrip(const uint8_t* in, ptrdiff_t inStride, int width,
                        const JpegQuantization& table, uint8_t* out, ptrdiff_t outStride);

}  // namespace semanticvla::reference
