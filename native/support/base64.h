#pragma once

#include <cstddef>
#include <cstdint>

namespace semanticvla {

/// Decodes base64 (RFC 4648) in place: `length` characters, less a remainder of up to 3, become
/// bytes at `text`. Standard and URL alphabet, padding only at the end.
///
/// @return bytes written, or -1 for any other character; `text` is then partly overwritten
int64_t decodeBase64(uint8_t* text, size_t length);

}  // namespace semanticvla
