#include "support/base64.h"

#include <array>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace semanticvla {

namespace {

constexpr uint8_t kOther = 0xff;

constexpr std::array<uint8_t, 256> makeValues() {
  std::array<uint8_t, 256> values{};
  for (uint8_t& value : values) value = kOther;
  for (uint8_t i = 0; i < 26; ++i) {
    values['A' + i] = i;
    values['a' + i] = static_cast<uint8_t>(26 + i);
  }
  for (uint8_t i = 0; i < 10; ++i) values['0' + i] = static_cast<uint8_t>(52 + i);
  values['+'] = values['-'] = 62;
  values['/'] = values['_'] = 63;
  return values;
}

constexpr std::array<uint8_t, 256> kValues = makeValues();

/// Where the next four characters are, and where their bytes go.
struct Cursor {
  size_t from = 0;
  size_t to = 0;
};

#if defined(__x86_64__)

/// 32 characters at a time, as long as all are of the standard alphabet (W. Mula, D. Lemire: Faster
/// Base64 Encoding and Decoding Using AVX2 Instructions). Stores write 8 bytes too
/// many, over characters that have been read: every step turns 32 bytes into 24.
__attribute__((target("avx2"))) Cursor decodeWide(uint8_t* text, size_t length) {
  // By low and by high half of a character; they share a bit when it is not a base64 character.
  const __m256i byLow =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                                0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a));
  const __m256i byHigh =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08,
                                                0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10));
  // Character to value, by high half; the slash has one of its own.
  const __m256i shift = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
  const __m256i slash = _mm256_set1_epi8('/');
  const __m256i pack = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
  const __m256i join = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
  Cursor at;
  while (length - at.from >= 32) {
    const __m256i characters = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(text + at.from));
    // A look-up uses the low four bits and gives 0 for a byte whose highest bit is set; 0x2f
    // clears that bit.
    const __m256i high = _mm256_and_si256(_mm256_srli_epi32(characters, 4), slash);
    const __m256i low = _mm256_and_si256(characters, slash);
    const __m256i lows = _mm256_shuffle_epi8(byLow, low);
    const __m256i highs = _mm256_shuffle_epi8(byHigh, high);
    if (_mm256_testz_si256(lows, highs) == 0) break;
    const __m256i isSlash = _mm256_cmpeq_epi8(characters, slash);
    const __m256i values =
        _mm256_add_epi8(characters, _mm256_shuffle_epi8(shift, _mm256_add_epi8(isSlash, high)));
    // 6 bits each: two to 12, four to 24, then their bytes in order and the halves together.
    const __m256i pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140));
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(fours, pack), join);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(text + at.to), bytes);
    at.from += 32;
    at.to += 24;
  }
  return at;
}

Cursor decodeMost(uint8_t* text, size_t length) {
  return __builtin_cpu_supports("avx2") ? decodeWide(text, length) : Cursor{};
}

#else

Cursor decodeMost(uint8_t*, size_t) { return {}; }

#endif

}  // namespace

int64_t decodeBase64(uint8_t* text, size_t length) {
  length -= length % 4;
  size_t padding = 0;
  while (padding < 2 && padding < length && text[length - 1 - padding] == '=') ++padding;
  Cursor at = decodeMost(text, length - (padding == 0 ? 0 : 4));
  for (; at.from < length; at.from += 4) {
    const size_t missing = at.from + 4 == length ? padding : 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; ++i) {
      const uint8_t value = i < 4 - missing ? kValues[text[at.from + i]] : 0;
      if (value == kOther) return -1;
      bits = bits << 6 | value;
    }
    for (size_t i = 0; i < 3 - missing; ++i)
      text[at.to++] = static_cast<uint8_t>(bits >> (16 - 8 * i));
  }
  return static_cast<int64_t>(at.to);
}

}  // namespace semanticvla
