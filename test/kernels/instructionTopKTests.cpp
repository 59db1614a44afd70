#include <algorithm>
#include <cmath>

#include "device.h"
#include "kernels/instructionTopK.h"
#include "reference/instructionTopK.h"
#include "reference/selection.h"

using namespace kernelTest;
using kernels::InstructionTopKParams;

namespace {

struct Shape {
  int images, patches, width, textTokens, topk;
};

struct Outputs {
  std::vector<uint8_t> kept;
  std::vector<int64_t> indices;
  std::vector<float> similarity;
};

struct Case {
  DataType type;
  Shape shape;
  std::vector<uint8_t> patchRows, textRows, mask;
  /// Bytes that the rows start past an aligned address.
  size_t offset = 0;
};

InstructionTopKParams paramsOf(const Case& c) {
  InstructionTopKParams p;
  p.type = c.type;
  p.images = c.shape.images;
  p.patches = c.shape.patches;
  p.width = c.shape.width;
  p.textTokens = c.shape.textTokens;
  p.topk = c.shape.topk;
  return p;
}

Case makeCase(DataType type, const Shape& s, const std::vector<float>& patches,
              const std::vector<float>& text, std::vector<uint8_t> mask) {
  Case c{type, s, encode(patches, type), encode(text, type), std::move(mask)};
  return c;
}

Outputs outputsOf(const Case& c) {
  const Shape& s = c.shape;
  Outputs out;
  out.kept.resize(static_cast<size_t>(s.images) * s.topk * s.width * kernels::sizeOf(c.type));
  out.indices.resize(static_cast<size_t>(s.images) * s.topk);
  out.similarity.resize(static_cast<size_t>(s.images) * s.patches * s.textTokens);
  return out;
}

Outputs twin(const Case& c) {
  Outputs out = outputsOf(c);
  std::vector<float> workspace(static_cast<size_t>(c.shape.images) * c.shape.patches);
  InstructionTopKParams p = paramsOf(c);
  p.patchRows = c.patchRows.data();
  p.textRows = c.textRows.data();
  p.mask = c.mask.data();
  p.kept = out.kept.data();
  p.indices = out.indices.data();
  p.similarity = out.similarity.data();
  p.workspace = workspace.data();
  p.workspaceBytes = workspace.size() * 4;
  finish(reference::instructionTopK(p));
  return out;
}

Outputs onDevice(const Case& c, int variant) {
  const Outputs sizes = outputsOf(c);
  const unsigned char fill = fillOf(variant);
  InstructionTopKParams p = paramsOf(c);
  const Buffer patchRows(c.patchRows, c.offset), textRows(c.textRows, c.offset), mask(c.mask, 0);
  const Buffer kept(sizes.kept.size(), c.offset, fill);
  const Buffer indices(sizes.indices.size() * 8, 0, fill);
  const Buffer similarity(sizes.similarity.size() * 4, 0, fill);
  p.workspaceBytes = kernels::instructionTopKWorkspace(p.images, p.patches);
  const Buffer workspace(p.workspaceBytes, 0, fill);
  const Buffer tickets(std::vector<uint8_t>(static_cast<size_t>(p.images) * 4), 0);
  p.tickets = tickets.data<uint32_t>();
  p.patchRows = patchRows.data();
  p.textRows = textRows.data();
  p.mask = mask.data<uint8_t>();
  p.kept = kept.data();
  p.indices = indices.data<int64_t>();
  p.similarity = similarity.data<float>();
  p.workspace = workspace.data();
  selectVariant(variant);
  finish(kernels::launchInstructionTopK(p, nullptr));
  workspace.download("workspace");
  for (const uint8_t byte : tickets.download("tickets")) {
    if (byte != 0) fail("a ticket counter is not back at zero");
  }
  if (patchRows.download("patches") != c.patchRows) fail("the patches were written");
  return {kept.download("kept"), valuesOf<int64_t>(indices.download("indices")),
          valuesOf<float>(similarity.download("similarity"))};
}

/// The selection that follows from these similarities: mean over the columns, in order.
std::vector<int64_t> selectionOf(const std::vector<float>& similarity, const Shape& s) {
  std::vector<int64_t> all;
  for (int image = 0; image < s.images; ++image) {
    std::vector<float> scores(s.patches);
    for (int n = 0; n < s.patches; ++n) {
      float sum = 0.0f;
      for (int m = 0; m < s.textTokens; ++m) {
        sum += similarity[(static_cast<size_t>(image) * s.patches + n) * s.textTokens + m];
      }
      scores[n] = sum / static_cast<float>(s.textTokens);
    }
    for (const int64_t i : reference::selectTopK(scores, s.topk)) all.push_back(i);
  }
  return all;
}

/// Exact data: everything equal to the twin, in every variant.
void compareExactly(const Case& c, Count& count) {
  ++count.cases;
  const Outputs expected = twin(c);
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Outputs found = onDevice(c, variant);
    expectSame(found.similarity, expected.similarity, "similarity");
    expectSame(found.indices, expected.indices, "indices");
    expectSame(found.kept, expected.kept, "kept");
  }
}

/// Any data: similarities near the twin's and the same in every variant; indices exactly those that
/// follow from the kernel's own similarities.
void compareNearly(const Case& c, Count& count) {
  ++count.cases;
  const Outputs expected = twin(c);
  std::vector<float> first;
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Outputs found = onDevice(c, variant);
    // Both add W products whose absolute sum is at most 1 (Cauchy and Schwarz), each in its order:
    // a sum's rounding errors of 2^-24 wander as the square root of their number. Eight times that,
    // and a few roundings for lengths and divisions.
    const float tolerance = (8.0f * std::sqrt(static_cast<float>(c.shape.width)) + 8.0f) * 0x1p-24f;
    expectNear(found.similarity, expected.similarity, tolerance, 0.0f, "similarity");
    expectSame(found.indices, selectionOf(found.similarity, c.shape), "indices");
    const size_t row = c.shape.width * kernels::sizeOf(c.type);
    for (size_t i = 0; i < found.indices.size(); ++i) {
      const size_t image = i / c.shape.topk;
      const size_t from = (image * c.shape.patches + found.indices[i]) * row;
      if (!std::equal(found.kept.begin() + i * row, found.kept.begin() + (i + 1) * row,
                      c.patchRows.begin() + from)) {
        fail("kept row " + std::to_string(i) + " is not the patch of its index");
      }
    }
    if (variant == 0) first = found.similarity;
    expectSame(found.similarity, first, "similarity of another order of threads");
  }
}

enum class Masked { kNone, kAll, kAllButOne, kOne, kRandom };

std::vector<uint8_t> maskOf(Random& random, int tokens, Masked masked) {
  std::vector<uint8_t> mask(tokens, masked == Masked::kAll || masked == Masked::kAllButOne ? 0 : 1);
  if (masked == Masked::kAllButOne) mask[uniform(random, 0, tokens - 1)] = 1;
  if (masked == Masked::kOne) mask[uniform(random, 0, tokens - 1)] = 0;
  // Any byte but 0 is true.
  if (masked == Masked::kRandom) {
    for (uint8_t& byte : mask) byte = uniform(random, 0, 1) ? uniform(random, 1, 255) : 0;
  }
  return mask;
}

size_t patchCount(const Shape& s) { return static_cast<size_t>(s.images) * s.patches * s.width; }
size_t textCount(const Shape& s) { return static_cast<size_t>(s.textTokens) * s.width; }

Case exactCase(Random& random, DataType type, const Shape& s, Masked masked) {
  return makeCase(type, s, exactValues(random, patchCount(s)), exactValues(random, textCount(s)),
                  maskOf(random, s.textTokens, masked));
}

Shape randomShape(Random& random, int widest) {
  Shape s{};
  s.images = uniform(random, 1, 3);
  s.patches = uniform(random, 1, uniform(random, 0, 7) == 0 ? 300 : 40);
  s.width = uniform(random, 1, widest);
  s.textTokens = uniform(random, 1, 64);
  s.topk = uniform(random, 1, std::min(s.patches, 256));
  return s;
}

}  // namespace

KERNEL_TEST(instructionTopKSpecSizes) {
  Random random(1);
  for (const DataType type : kTypes) {
    // LIBERO, Lite, and the widths either side of what can be read in fours.
    compareExactly(exactCase(random, type, {2, 256, 1152, 64, 32}, Masked::kRandom), count);
    compareExactly(exactCase(random, type, {1, 256, 1152, 64, 16}, Masked::kNone), count);
    compareExactly(exactCase(random, type, {1, 256, 1153, 64, 256}, Masked::kOne), count);
    compareExactly(exactCase(random, type, {1, 1024, 37, 64, 256}, Masked::kRandom), count);
  }
}

KERNEL_TEST(instructionTopKLimits) {
  Random random(2);
  for (const DataType type : kTypes) {
    for (const int width : {1, 2, 3, 4, 37, 63, 64, 65, 128}) {
      for (const int topk : {1, 9, 17}) {
        compareExactly(exactCase(random, type, {1, 17, width, 5, topk}, Masked::kRandom), count);
      }
    }
    compareExactly(exactCase(random, type, {1, 1, 8, 1, 1}, Masked::kNone), count);
    compareExactly(exactCase(random, type, {3, 8, 8, 64, 8}, Masked::kNone), count);
    compareExactly(exactCase(random, type, {1, 1023, 4, 3, 255}, Masked::kNone), count);
  }
}

KERNEL_TEST(instructionTopKMasks) {
  Random random(3);
  for (const DataType type : kTypes) {
    for (const Masked masked :
         {Masked::kNone, Masked::kAll, Masked::kAllButOne, Masked::kOne, Masked::kRandom}) {
      compareExactly(exactCase(random, type, {2, 50, 24, 64, 7}, masked), count);
      compareExactly(exactCase(random, type, {1, 33, 5, 1, 33}, masked), count);
    }
  }
  // All masked: every score is -1, so the first patches are kept.
  const Case c = exactCase(random, DataType::kBfloat16, {1, 40, 8, 6, 4}, Masked::kAll);
  expectSame(onDevice(c, 0).indices, {0, 1, 2, 3}, "indices with every token masked");
  ++count.cases, ++count.launches;
}

KERNEL_TEST(instructionTopKTies) {
  Random random(4);
  for (const DataType type : kTypes) {
    for (int round = 0; round < 12; ++round) {
      // Each patch is one of three rows, so that scores tie in thirds.
      const Shape s{1, uniform(random, 3, 260), uniform(random, 1, 40), uniform(random, 1, 64), 0};
      Shape with = s;
      with.topk = uniform(random, 1, std::min(s.patches, 256));
      const std::vector<float> rows = exactValues(random, 3 * static_cast<size_t>(s.width));
      std::vector<float> patches;
      for (int n = 0; n < s.patches; ++n) {
        const auto from = rows.begin() + uniform(random, 0, 2) * s.width;
        patches.insert(patches.end(), from, from + s.width);
      }
      compareExactly(makeCase(type, with, patches, exactValues(random, textCount(s)),
                              maskOf(random, s.textTokens, Masked::kRandom)),
                     count);
    }
  }
  // All patches the same: the first ones are kept.
  const Shape s{1, 300, 6, 4, 5};
  const Case c = makeCase(DataType::kFloat16, s, std::vector<float>(patchCount(s), 0.5f),
                          exactValues(random, textCount(s)), {1, 1, 0, 1});
  expectSame(onDevice(c, 0).indices, {0, 1, 2, 3, 4}, "indices of equal patches");
  ++count.cases, ++count.launches;
}

KERNEL_TEST(instructionTopKNotANumber) {
  Random random(5);
  const float specials[] = {NAN, INFINITY, -INFINITY, 3e38f, 0.0f};
  for (const DataType type : kTypes) {
    for (int round = 0; round < 12; ++round) {
      Shape s = randomShape(random, 70);
      std::vector<float> patches = exactValues(random, patchCount(s));
      std::vector<float> text = exactValues(random, textCount(s));
      // Whole rows and single elements; half of the rounds leave the text alone.
      for (int n = 0; n < s.images * s.patches; n += uniform(random, 1, 5)) {
        const float special = specials[uniform(random, 0, 4)];
        const auto row = patches.begin() + static_cast<size_t>(n) * s.width;
        if (uniform(random, 0, 1)) std::fill(row, row + s.width, special);
        row[uniform(random, 0, s.width - 1)] = special;
      }
      if (round % 2 == 0) {
        text[uniform(random, 0, static_cast<int>(text.size()) - 1)] = specials[round / 2 % 5];
      }
      compareExactly(
          makeCase(type, s, patches, text, maskOf(random, s.textTokens, Masked::kRandom)), count);
    }
  }
  // NaN last: of four patches two are NaN, and the two others are kept although they score least.
  const Case c =
      makeCase(DataType::kFloat32, {1, 4, 1, 1, 2}, {NAN, -1.0f, INFINITY, -1.0f}, {1.0f}, {1});
  expectSame(onDevice(c, 0).indices, {1, 3}, "indices beside NaN");
  ++count.cases, ++count.launches;
}

KERNEL_TEST(instructionTopKRandomExact) {
  Random random(6);
  for (const DataType type : kTypes) {
    for (int round = 0; round < 100; ++round) {
      const Shape s = randomShape(random, round % 10 == 0 ? 1200 : 150);
      Case c = exactCase(random, type, s, static_cast<Masked>(uniform(random, 0, 4)));
      c.offset = kernels::sizeOf(type) * uniform(random, 0, 4);
      compareExactly(c, count);
    }
  }
}

KERNEL_TEST(instructionTopKRandomGaussian) {
  Random random(7);
  for (const DataType type : kTypes) {
    for (int round = 0; round < 40; ++round) {
      const Shape s = randomShape(random, round % 10 == 0 ? 1200 : 150);
      Case c = makeCase(type, s, gaussianValues(random, patchCount(s)),
                        gaussianValues(random, textCount(s)),
                        maskOf(random, s.textTokens, static_cast<Masked>(uniform(random, 0, 4))));
      c.offset = kernels::sizeOf(type) * uniform(random, 0, 4);
      // Rows so small that their squares vanish: the length is 1e-12 then, not 0.
      if (round % 5 == 0) {
        std::vector<float> tiny = decode(c.patchRows, type);
        for (int i = 0; i < s.width; ++i) tiny[i] *= 1e-30f;
        c.patchRows = encode(tiny, type);
      }
      compareNearly(c, count);
    }
  }
}

KERNEL_TEST(instructionTopKRefusals) {
  const auto refused = [&](kernels::Status status, void (*change)(InstructionTopKParams&)) {
    ++count.cases;
    alignas(16) static char memory[64];
    InstructionTopKParams p;
    p.images = p.width = p.textTokens = 1;
    p.patches = 4;
    p.topk = 2;
    p.patchRows = p.textRows = p.kept = p.workspace = memory;
    p.mask = reinterpret_cast<uint8_t*>(memory);
    p.tickets = reinterpret_cast<uint32_t*>(memory);
    p.indices = reinterpret_cast<int64_t*>(memory);
    p.similarity = reinterpret_cast<float*>(memory);
    p.workspaceBytes = 16;
    if (kernels::checkInstructionTopK(p) != kernels::kOk) fail("the unchanged case is refused");
    change(p);
    if (kernels::launchInstructionTopK(p, nullptr) != status) fail("not refused as it should be");
  };
  refused(kernels::kBadTopk, [](InstructionTopKParams& p) { p.topk = 0; });
  refused(kernels::kBadTopk, [](InstructionTopKParams& p) { p.topk = 5; });
  refused(kernels::kBadSize, [](InstructionTopKParams& p) { p.patches = 1025; });
  refused(kernels::kBadSize, [](InstructionTopKParams& p) { p.textTokens = 65; });
  refused(kernels::kBadSize, [](InstructionTopKParams& p) { p.width = 0; });
  refused(kernels::kBadSize, [](InstructionTopKParams& p) { p.images = 0; });
  refused(kernels::kBadSize, [](InstructionTopKParams& p) { p.images = kernels::kMaxImages + 1; });
  refused(kernels::kBadPointer, [](InstructionTopKParams& p) { p.mask = nullptr; });
  refused(kernels::kBadPointer, [](InstructionTopKParams& p) { p.tickets = nullptr; });
  refused(kernels::kBadPointer, [](InstructionTopKParams& p) {
    p.patchRows = static_cast<const char*>(p.patchRows) + 1;
  });
  refused(kernels::kSmallWorkspace, [](InstructionTopKParams& p) { p.workspaceBytes = 15; });
  refused(kernels::kBadValue, [](InstructionTopKParams& p) { p.type = static_cast<DataType>(3); });
}
