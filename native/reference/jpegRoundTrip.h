#pragma once

#include <cstdint>
#include <vector>

#include "support/team.h"

namespace semanticvla::reference {

/// Buffers between the two halves of the round trip; reused between calls.
struct JpegWorkspace {
  /// Decoded Y, Cb, Cr samples, rows and columns padded.
  std::vector<uint8_t> planes[3];
};

/// What encoding as JPEG and decoding again makes of an image (docs/model.md, Input 1), in place of
/// both: quality 95, 4:2:0, accurate forward DCT, fast inverse DCT, fancy upsampling, bit for bit.
/// Entropy coding loses nothing and is left out. `rgb` and `out` are [height, width, 3] uint8 and
/// may be the same.
void jpegRoundTrip(const uint8_t* rgb, int width, int height, JpegWorkspace& work, Team& team,
                   uint8_t* out);

}  // namespace semanticvla::reference
