#include <algorithm>
#include <cmath>

#include "device.h"
#include "kernels/textGuidedPooling.h"
#include "reference/textGuidedPooling.h"

using namespace kernelTest;
using kernels::TextGuidedPoolingParams;

namespace {

struct Shape {
  int images, patches, width, textTokens, topk;
};

struct Case {
  DataType type;
  Shape shape;
  float temperature;
  std::vector<uint8_t> patchRows;
  std::vector<float> similarity;
  size_t offset = 0;
};

struct Outputs {
  std::vector<uint8_t> pooled;
  std::vector<int64_t> indices;
};

TextGuidedPoolingParams paramsOf(const Case& c) {
  TextGuidedPoolingParams p;
  p.type = c.type;
  p.images = c.shape.images;
  p.patches = c.shape.patches;
  p.width = c.shape.width;
  p.textTokens = c.shape.textTokens;
  p.topk = c.shape.topk;
  p.temperature = c.temperature;
  return p;
}

Outputs outputsOf(const Case& c) {
  const size_t rows = static_cast<size_t>(c.shape.images) * c.shape.topk;
  return {std::vector<uint8_t>(rows * c.shape.width * kernels::sizeOf(c.type)),
          std::vector<int64_t>(rows)};
}

Outputs twin(const Case& c) {
  Outputs out = outputsOf(c);
  TextGuidedPoolingParams p = paramsOf(c);
  p.patchRows = c.patchRows.data();
  p.similarity = c.similarity.data();
  p.pooled = out.pooled.data();
  p.indices = out.indices.data();
  finish(reference::textGuidedPooling(p));
  return out;
}

Outputs onDevice(const Case& c, int variant) {
  const Outputs sizes = outputsOf(c);
  TextGuidedPoolingParams p = paramsOf(c);
  const Buffer patchRows(c.patchRows, c.offset), similarity(bytesOf(c.similarity), 0);
  const Buffer pooled(sizes.pooled.size(), c.offset, fillOf(variant));
  const Buffer indices(sizes.indices.size() * 8, 0, fillOf(variant));
  p.patchRows = patchRows.data();
  p.similarity = similarity.data<float>();
  p.pooled = pooled.data();
  p.indices = indices.data<int64_t>();
  selectVariant(variant);
  finish(kernels::launchTextGuidedPooling(p, nullptr));
  return {pooled.download("pooled"), valuesOf<int64_t>(indices.download("indices"))};
}

/// Indices exactly: both add a column in the same order. Pooled rows within the tolerance, and the
/// same bits in every variant.
void compare(const Case& c, Count& count) {
  ++count.cases;
  const Outputs expected = twin(c);
  const std::vector<float> pooled = decode(expected.pooled, c.type);
  float largest = 0.0f;
  for (const float value : decode(c.patchRows, c.type)) {
    if (std::abs(value) < INFINITY) largest = std::max(largest, std::abs(value));
  }
  // Weights that sum to 1 times values of at most `largest`, added in two orders: roundings of
  // 2^-24 that wander as the square root of the number of patches, eight times that; the
  // exponentials may differ by a few units. Then one rounding to the storage type, either side of a
  // tie.
  const float absolute =
      largest * (8.0f * std::sqrt(static_cast<float>(c.shape.patches)) + 16.0f) * 0x1p-24f +
      absoluteUnit(c.type);
  std::vector<uint8_t> first;
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Outputs found = onDevice(c, variant);
    expectSame(found.indices, expected.indices, "indices");
    expectNear(decode(found.pooled, c.type), pooled, absolute, relativeUnit(c.type), "pooled");
    if (variant == 0) first = found.pooled;
    expectSame(found.pooled, first, "pooled of another order of threads");
  }
}

std::vector<float> similarities(Random& random, const Shape& s, int masked) {
  std::vector<float> values =
      gaussianValues(random, static_cast<size_t>(s.images) * s.patches * s.textTokens);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = std::tanh(0.3f * values[i]);
    if (static_cast<int>(i % s.textTokens) >= s.textTokens - masked) values[i] = -1.0f;
  }
  return values;
}

Case makeCase(Random& random, DataType type, const Shape& s, int masked, float temperature) {
  const size_t count = static_cast<size_t>(s.images) * s.patches * s.width;
  return {type, s, temperature, encode(gaussianValues(random, count), type),
          similarities(random, s, masked)};
}

Shape randomShape(Random& random, int widest) {
  Shape s{};
  s.images = uniform(random, 1, 3);
  s.patches = uniform(random, 1, uniform(random, 0, 7) == 0 ? 300 : 40);
  s.width = uniform(random, 1, widest);
  s.textTokens = uniform(random, 1, 64);
  s.topk = uniform(random, 1, s.textTokens);
  return s;
}

}  // namespace

KERNEL_TEST(textGuidedPoolingSpecSizes) {
  Random random(11);
  for (const DataType type : kTypes) {
    compare(makeCase(random, type, {2, 256, 1152, 64, 5}, 50, 1.0f), count);
    compare(makeCase(random, type, {1, 256, 1153, 64, 8}, 0, 0.07f), count);
    compare(makeCase(random, type, {1, 1024, 37, 64, 64}, 3, 1.0f), count);
  }
}

KERNEL_TEST(textGuidedPoolingLimits) {
  Random random(12);
  for (const DataType type : kTypes) {
    for (const int width : {1, 2, 3, 37, 63, 64, 65, 129}) {
      for (const int topk : {1, 7, 8, 9, 33, 34}) {
        compare(makeCase(random, type, {1, 20, width, 34, topk}, 5, 0.5f), count);
      }
    }
    compare(makeCase(random, type, {1, 1, 1, 1, 1}, 0, 1.0f), count);
    compare(makeCase(random, type, {2, 31, 5, 32, 32}, 32, 1.0f), count);
  }
}

KERNEL_TEST(textGuidedPoolingTiesAndMasks) {
  Random random(13);
  for (const DataType type : kTypes) {
    for (int round = 0; round < 20; ++round) {
      const Shape s = randomShape(random, 30);
      Case c = makeCase(random, type, s, uniform(random, 0, s.textTokens), 1.0f);
      // Similarities of a few eighths: sums are exact and many columns tie.
      for (float& value : c.similarity) value = std::round(value * 2.0f) / 8.0f;
      compare(c, count);
    }
  }
  // Every token masked: the first tokens, each the plain mean of the patches.
  Case c{DataType::kFloat32,
         {1, 4, 1, 6, 3},
         1.0f,
         encode({1, 2, 3, 6}, DataType::kFloat32),
         std::vector<float>(24, -1.0f)};
  const Outputs found = onDevice(c, 0);
  expectSame(found.indices, {0, 1, 2}, "indices with every token masked");
  expectSame(decode(found.pooled, c.type), {3, 3, 3}, "pooled with every token masked");
  ++count.cases, ++count.launches;
}

KERNEL_TEST(textGuidedPoolingExtremes) {
  Random random(16);
  for (const DataType type : kTypes) {
    // Logits of +-1000: a softmax that does not take off the largest one overflows.
    Case c = makeCase(random, type, {1, 300, 9, 4, 4}, 0, 0.001f);
    for (size_t i = 0; i < c.similarity.size(); ++i)
      c.similarity[i] = i / 4 == i % 4 ? 1.0f : -1.0f;
    compare(c, count);
  }
  // The mean of the smallest negative number and 0 is -0, which ties with 0: the lower index.
  Case c{DataType::kFloat32,
         {1, 2, 1, 2, 1},
         1.0f,
         encode({5, 5}, DataType::kFloat32),
         {-1.4e-45f, 0.0f, 0.0f, 0.0f}};
  compare(c, count);
  expectSame(onDevice(c, 0).indices, {0}, "indices of -0 and 0");
}

KERNEL_TEST(textGuidedPoolingNotANumber) {
  Random random(14);
  const float specials[] = {NAN, INFINITY, -INFINITY};
  for (const DataType type : kTypes) {
    for (int round = 0; round < 18; ++round) {
      const Shape s = randomShape(random, 40);
      Case c = makeCase(random, type, s, 0, 1.0f);
      const float special = specials[round % 3];
      c.similarity[uniform(random, 0, static_cast<int>(c.similarity.size()) - 1)] = special;
      if (round % 2 == 0) {
        std::vector<float> rows = decode(c.patchRows, type);
        rows[uniform(random, 0, static_cast<int>(rows.size()) - 1)] = special;
        c.patchRows = encode(rows, type);
      }
      compare(c, count);
    }
  }
  // A NaN column ranks last.
  Case c{
      DataType::kFloat32, {1, 1, 1, 3, 2}, 1.0f, encode({5}, DataType::kFloat32), {-0.9f, NAN, -1}};
  expectSame(onDevice(c, 0).indices, {0, 2}, "indices beside NaN");
  ++count.cases, ++count.launches;
}

KERNEL_TEST(textGuidedPoolingRandom) {
  Random random(15);
  constexpr float kTemperatures[] = {1.0f, 0.07f, 0.01f, 3.0f, 100.0f};
  for (const DataType type : kTypes) {
    for (int round = 0; round < 100; ++round) {
      const Shape s = randomShape(random, round % 10 == 0 ? 1200 : 150);
      Case c = makeCase(random, type, s, uniform(random, 0, s.textTokens),
                        kTemperatures[uniform(random, 0, 4)]);
      c.offset = kernels::sizeOf(type) * uniform(random, 0, 4);
      compare(c, count);
    }
  }
}

KERNEL_TEST(textGuidedPoolingRefusals) {
  const auto refused = [&](kernels::Status status, void (*change)(TextGuidedPoolingParams&)) {
    ++count.cases;
    alignas(16) static char memory[64];
    TextGuidedPoolingParams p;
    p.images = p.patches = p.width = 1;
    p.textTokens = 4;
    p.topk = 2;
    p.patchRows = p.pooled = memory;
    p.similarity = reinterpret_cast<float*>(memory);
    p.indices = reinterpret_cast<int64_t*>(memory);
    if (kernels::checkTextGuidedPooling(p) != kernels::kOk) fail("the unchanged case is refused");
    change(p);
    if (kernels::launchTextGuidedPooling(p, nullptr) != status) fail("not refused as it should be");
  };
  refused(kernels::kBadTopk, [](TextGuidedPoolingParams& p) { p.topk = 5; });
  refused(kernels::kBadTopk, [](TextGuidedPoolingParams& p) { p.topk = 0; });
  refused(kernels::kBadValue, [](TextGuidedPoolingParams& p) { p.temperature = 0.0f; });
  refused(kernels::kBadValue, [](TextGuidedPoolingParams& p) { p.temperature = NAN; });
  refused(kernels::kBadValue, [](TextGuidedPoolingParams& p) { p.temperature = INFINITY; });
  refused(kernels::kBadSize, [](TextGuidedPoolingParams& p) { p.patches = 1025; });
  refused(kernels::kBadSize, [](TextGuidedPoolingParams& p) { p.textTokens = 65; });
  refused(kernels::kBadPointer, [](TextGuidedPoolingParams& p) { p.similarity = nullptr; });
}
