#pragma once

#include <cstddef>
#include <cstdint>

namespace semanticvla {

/// The masking of WebSocket (RFC 6455, section 5.3) over itself: byte i with byte i modulo 4 of
/// `key`, the lowest first. Its own inverse.
void xorMask(uint8_t* bytes, size_t length, uint32_t key);

}  // namespace semanticvla
