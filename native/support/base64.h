#pragma once

#include <cstddef>
#include <cstdint>

namespace semanticvla {

/// Base64 (RFC 4648) over itself: `length` characters (a rest of
/// less than 4 is left out) become bytes from `text` on.
/// Standard and URL alphabet, padding only at the end.
///
/// @return bytes written, or -1: another character, and `text` is then partly overwritten
int64_t decodeBase64(uint8_t* text, size_t length);

}  // namespace semanticvla
