#include "support/xorMask.h"

#include <cstring>

#include "support/vectorize.h"

namespace semanticvla {

namespace {

/// Whole words only, wherever they lie.
VECTORIZE void xorWords(uint8_t* bytes, size_t count, uint32_t key) {
  for (size_t i = 0; i < count; ++i) {
    uint32_t word;
    std::memcpy(&word, bytes + 4 * i, 4);
    word ^= key;
    std::memcpy(bytes + 4 * i, &word, 4);
  }
}

}  // namespace

void xorMask(uint8_t* bytes, size_t length, uint32_t key) {
  const size_t words = length / 4;
  xorWords(bytes, words, key);
  for (size_t i = 4 * words; i < length; ++i) {
    bytes[i] = static_cast<uint8_t>(bytes[i] ^ (key >> (8 * (i % 4))));
  }
}

}  // namespace semanticvla
