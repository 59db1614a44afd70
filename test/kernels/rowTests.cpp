// Kernels that copy or modulate rows: bit for bit equal to their twins.

#include <cmath>

#include "device.h"
#include "kernels/channelConcat.h"
#include "kernels/film.h"
#include "kernels/queryRows.h"
#include "reference/channelConcat.h"
#include "reference/film.h"
#include "reference/queryRows.h"

using namespace kernelTest;

namespace {

/// Any bits: what is copied need not be a number.
std::vector<uint8_t> anyBytes(Random& random, size_t bytes) {
  std::vector<uint8_t> values(bytes);
  for (uint8_t& value : values) value = static_cast<uint8_t>(random());
  return values;
}

/// Bytes after an aligned address: none, or a few elements.
size_t offsetOf(Random& random, DataType type) {
  return uniform(random, 0, 1) * kernels::sizeOf(type) * uniform(random, 1, 4);
}

int widthOf(Random& random) {
  constexpr int kWidths[] = {1, 2, 3, 8, 37, 64, 1024, 1152, 1153};
  return uniform(random, 0, 1) ? kWidths[uniform(random, 0, 8)] : uniform(random, 1, 300);
}

void compareQueryRows(Random& random, DataType type, kernels::QueryRowsParams p, Count& count) {
  ++count.cases;
  p.type = type;
  const size_t row = p.width * kernels::sizeOf(type);
  const std::vector<uint8_t> tokens = anyBytes(random, p.images * p.tokens * row);
  std::vector<uint8_t> expected(p.images * p.rows * row);
  p.tokenRows = tokens.data();
  p.queries = expected.data();
  finish(reference::queryRows(p));
  const Buffer in(tokens, offsetOf(random, type));
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Buffer out(expected.size(), offsetOf(random, type), fillOf(variant));
    p.tokenRows = in.data();
    p.queries = out.data();
    selectVariant(variant);
    finish(kernels::launchQueryRows(p, nullptr));
    expectSame(out.download("queries"), expected, "queries");
  }
}

void compareConcat(Random& random, DataType type, kernels::ChannelConcatParams p, Count& count) {
  ++count.cases;
  p.type = type;
  const size_t left = p.leftWidth * kernels::sizeOf(type),
               right = p.rightWidth * kernels::sizeOf(type);
  const std::vector<uint8_t> leftRows = anyBytes(random, p.images * p.leftRows * left);
  const std::vector<uint8_t> rightRows = anyBytes(random, p.images * p.rows * right);
  std::vector<uint8_t> expected(p.images * p.rows * (left + right));
  p.left = leftRows.data();
  p.right = rightRows.data();
  p.joined = expected.data();
  finish(reference::channelConcat(p));
  const Buffer leftIn(leftRows, offsetOf(random, type)), rightIn(rightRows, offsetOf(random, type));
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Buffer out(expected.size(), offsetOf(random, type), fillOf(variant));
    p.left = leftIn.data();
    p.right = rightIn.data();
    p.joined = out.data();
    selectVariant(variant);
    finish(kernels::launchChannelConcat(p, nullptr));
    expectSame(out.download("joined"), expected, "joined");
  }
}

void compareFilm(Random& random, DataType type, int rows, int width, bool inPlace, Count& count) {
  ++count.cases;
  kernels::FilmParams p;
  p.type = type;
  p.rows = rows;
  p.width = width;
  std::vector<float> tokens = gaussianValues(random, static_cast<size_t>(rows) * width);
  // Also what overflows the storage, and what is no number.
  constexpr float kSpecials[] = {65504.0f, 3e38f, INFINITY, NAN, -0.0f, 1e-7f};
  for (int i = 0; i < 6; ++i) {
    tokens[uniform(random, 0, static_cast<int>(tokens.size()) - 1)] = kSpecials[i];
  }
  const std::vector<uint8_t> in = encode(tokens, type);
  const std::vector<uint8_t> gamma = encode(gaussianValues(random, width), type);
  const std::vector<uint8_t> beta = encode(gaussianValues(random, width), type);
  std::vector<uint8_t> expected(in.size());
  p.tokens = in.data();
  p.gamma = gamma.data();
  p.beta = beta.data();
  p.modulated = expected.data();
  finish(reference::film(p));
  const size_t offset = offsetOf(random, type);
  const Buffer gammaIn(gamma, offset), betaIn(beta, offset);
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Buffer tokensIn(in, offset);
    const Buffer out(in.size(), offset, fillOf(variant));
    p.tokens = tokensIn.data();
    p.gamma = gammaIn.data();
    p.beta = betaIn.data();
    p.modulated = inPlace ? tokensIn.data() : out.data();
    selectVariant(variant);
    finish(kernels::launchFilm(p, nullptr));
    // Values, not bits: the NaN of a processor is its own.
    const std::vector<uint8_t> found = (inPlace ? tokensIn : out).download("modulated");
    expectSame(decode(found, type), decode(expected, type), "modulated");
  }
}

template <typename Params>
void refuse(kernels::Status (*launch)(const Params&, cudaStream_t), const Params& params,
            kernels::Status status, Count& count) {
  ++count.cases;
  if (launch(params, nullptr) != status) fail("not refused as it should be");
}

}  // namespace

KERNEL_TEST(queryRowsRandom) {
  Random random(21);
  for (const DataType type : kTypes) {
    // DINOv2: prefix 5, 256 patches, 32 queries.
    kernels::QueryRowsParams p;
    p.images = 2, p.tokens = 293, p.first = 261, p.rows = 32, p.width = 1024;
    compareQueryRows(random, type, p, count);
    for (int round = 0; round < 100; ++round) {
      p.images = uniform(random, 1, 3);
      p.rows = uniform(random, 1, 20);
      p.first = uniform(random, 0, 9);
      p.tokens = p.first + p.rows + uniform(random, 0, 9);
      p.width = widthOf(random);
      compareQueryRows(random, type, p, count);
    }
  }
}

KERNEL_TEST(channelConcatRandom) {
  Random random(22);
  for (const DataType type : kTypes) {
    kernels::ChannelConcatParams p;
    p.images = 2, p.rows = 32, p.leftRows = 293, p.leftFirst = 261;
    p.leftWidth = 1024, p.rightWidth = 1152;
    compareConcat(random, type, p, count);
    for (int round = 0; round < 100; ++round) {
      p.images = uniform(random, 1, 3);
      p.rows = uniform(random, 1, 12);
      p.leftFirst = uniform(random, 0, 3);
      p.leftRows = p.leftFirst + p.rows + uniform(random, 0, 3);
      p.leftWidth = widthOf(random);
      p.rightWidth = widthOf(random);
      compareConcat(random, type, p, count);
    }
  }
}

KERNEL_TEST(filmRandom) {
  Random random(23);
  for (const DataType type : kTypes) {
    compareFilm(random, type, 293, 1024, false, count);
    for (int round = 0; round < 100; ++round) {
      compareFilm(random, type, uniform(random, 1, 20), widthOf(random), round % 2 == 0, count);
    }
  }
}

KERNEL_TEST(rowRefusals) {
  alignas(16) static char memory[64];
  kernels::QueryRowsParams q;
  q.images = q.width = 1, q.tokens = 4, q.first = 2, q.rows = 2, q.tokenRows = q.queries = memory;
  if (kernels::checkQueryRows(q) != kernels::kOk) fail("the unchanged case is refused");
  q.first = 3;
  refuse(kernels::launchQueryRows, q, kernels::kBadValue, count);
  q.first = -1;
  refuse(kernels::launchQueryRows, q, kernels::kBadValue, count);
  q.first = 0, q.queries = nullptr;
  refuse(kernels::launchQueryRows, q, kernels::kBadPointer, count);

  kernels::ChannelConcatParams c;
  c.images = c.rows = c.leftRows = c.leftWidth = c.rightWidth = 1;
  c.left = c.right = c.joined = memory;
  if (kernels::checkChannelConcat(c) != kernels::kOk) fail("the unchanged case is refused");
  c.leftFirst = 1;
  refuse(kernels::launchChannelConcat, c, kernels::kBadValue, count);
  c.leftFirst = 0, c.leftWidth = c.rightWidth = INT32_MAX;
  refuse(kernels::launchChannelConcat, c, kernels::kBadSize, count);

  kernels::FilmParams f;
  f.rows = f.width = 1, f.tokens = f.gamma = f.beta = f.modulated = memory;
  if (kernels::checkFilm(f) != kernels::kOk) fail("the unchanged case is refused");
  f.rows = 0;
  refuse(kernels::launchFilm, f, kernels::kBadSize, count);
  f.rows = 1, f.beta = memory + 1;
  refuse(kernels::launchFilm, f, kernels::kBadPointer, count);
}
