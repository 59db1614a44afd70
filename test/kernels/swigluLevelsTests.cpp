#include <algorithm>
#include <cmath>

#include "device.h"
#include "kernels/swigluLevels.h"
#include "reference/swigluLevels.h"

using namespace kernelTest;
using kernels::SwigluLevelsParams;

namespace {

struct Case {
  DataType type;
  int rows, width, block;
  std::vector<uint8_t> sums;
  std::vector<float> byToken, byChannel;
  size_t offset = 0;
};

struct Outputs {
  std::vector<uint8_t> levels;
  std::vector<float> scales;
};

SwigluLevelsParams paramsOf(const Case& c) {
  SwigluLevelsParams p;
  p.type = c.type;
  p.rows = c.rows;
  p.width = c.width;
  p.block = c.block;
  p.sums = c.sums.data();
  p.byToken = c.byToken.data();
  p.byChannel = c.byChannel.data();
  return p;
}

Outputs onDevice(const Case& c, int variant) {
  SwigluLevelsParams p = paramsOf(c);
  const Buffer sums(c.sums, c.offset), byToken(bytesOf(c.byToken), 0);
  const Buffer byChannel(bytesOf(c.byChannel), c.offset);
  const Buffer levels(static_cast<size_t>(c.rows) * c.width, c.offset / 2, fillOf(variant));
  const Buffer scales(static_cast<size_t>(c.rows) * 4, 0, fillOf(variant));
  p.sums = sums.data();
  p.byToken = byToken.data<float>();
  p.byChannel = byChannel.data<float>();
  p.levels = levels.data<int8_t>();
  p.scales = scales.data<float>();
  selectVariant(variant);
  finish(kernels::launchSwigluLevels(p, nullptr));
  return {levels.download("levels"), valuesOf<float>(scales.download("scales"))};
}

/// A value that was rounded is at most half a level from what it was. The kernel's float32 adds: a
/// gate of 20 has an exponential that is off by 2^-19, each of 64 values of a block may be as large
/// as eight times the row's largest rotated one, and six sums round: below 2e-3 of a level.
constexpr double kSlack = 2e-3;

void compareRow(const Case& c, int row, const Outputs& found) {
  const std::vector<double> rotated = reference::rotatedSwiglu(paramsOf(c), row);
  const float scale = found.scales[row];
  const bool isFinite = std::all_of(rotated.begin(), rotated.end(),
                                    [](double value) { return std::isfinite(value); });
  if (std::isfinite(scale) != isFinite) fail("a row with NaN or infinity, and its scale");
  for (int i = 0; i < c.width; ++i) {
    const int level = static_cast<int8_t>(found.levels[static_cast<size_t>(row) * c.width + i]);
    const double exact = isFinite ? rotated[i] / scale : 0.0;
    if (std::abs(exact - level) > (isFinite ? 0.5 + kSlack : 0.0)) {
      fail("row " + std::to_string(row) + ", column " + std::to_string(i) + ": expected about " +
           std::to_string(exact) + ", found " + std::to_string(level));
    }
  }
}

void compare(const Case& c, Count& count) {
  ++count.cases;
  Outputs twin{std::vector<uint8_t>(static_cast<size_t>(c.rows) * c.width),
               std::vector<float>(c.rows)};
  SwigluLevelsParams p = paramsOf(c);
  p.levels = reinterpret_cast<int8_t*>(twin.levels.data());
  p.scales = twin.scales.data();
  finish(reference::swigluLevels(p));
  Outputs first;
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Outputs found = onDevice(c, variant);
    for (int row = 0; row < c.rows; ++row) compareRow(c, row, found);
    std::vector<float> scales = found.scales;
    // Which of the two it is depends on what infinity was rotated with.
    for (float& scale : scales) {
      if (!std::isfinite(scale)) scale = NAN;
    }
    expectNear(scales, twin.scales, 0.0f, static_cast<float>(kSlack / 127.0), "scales");
    if (variant == 0) first = found;
    expectSame(found.levels, first.levels, "levels of another order of threads");
    expectSame(found.scales, first.scales, "scales of another order of threads");
  }
}

/// Sums as a product of levels leaves them: thousands, that their scales make ones of.
Case makeCase(Random& random, DataType type, int rows, int width, int block) {
  const size_t columns = 2 * static_cast<size_t>(width);
  Case c{type, rows, width, block, {}, gaussianValues(random, rows), {}};
  std::vector<float> sums = gaussianValues(random, rows * columns);
  for (float& value : sums) value *= 3000.0f;
  c.sums = encode(sums, type);
  for (float& value : c.byToken) value = 0.01f + std::abs(value) * 0.1f;
  c.byChannel = gaussianValues(random, columns);
  for (float& value : c.byChannel) value = 0.002f + std::abs(value) * 0.002f;
  c.offset = 16 * uniform(random, 0, 2);
  return c;
}

int blockOf(Random& random) { return 16 << uniform(random, 0, 2); }

}  // namespace

KERNEL_TEST(swigluLevelsSpecSizes) {
  Random random(31);
  for (const DataType type : kTypes) {
    compare(makeCase(random, type, 3, 11008, 64), count);
    // the widest row that a block keeps, and wider ones
    compare(makeCase(random, type, 1, 12272, 16), count);
    compare(makeCase(random, type, 2, 12288, 64), count);
    compare(makeCase(random, type, 1, 20480, 64), count);
  }
}

KERNEL_TEST(swigluLevelsLimits) {
  Random random(32);
  for (const DataType type : kTypes) {
    for (const int block : {16, 32, 64}) {
      for (const int blocks : {1, 2, 3, 17}) {
        compare(makeCase(random, type, 2, block * blocks, block), count);
      }
    }
    // one value that is far larger than the others
    Case c = makeCase(random, type, 2, 192, 64);
    c.byChannel[70] *= 1000.0f;
    compare(c, count);
    // nothing but zeros: no scale of its own
    c.byToken[1] = 0.0f;
    compare(c, count);
    if (!(onDevice(c, 0).scales[1] > 0.0f)) fail("expected a scale above zero for a row of zeros");
  }
}

/// Numbers that are exact in float32 at every step: a gate of 128 has a sigmoid of 1.
KERNEL_TEST(swigluLevelsTies) {
  ++count.cases;
  const std::vector<float> wanted{127.0f, 0.5f,  1.5f,  2.5f,  -0.5f, -1.5f,  -2.5f,  3.5f,
                                  0.0f,   -3.5f, 64.5f, 65.5f, 1.25f, -1.75f, 126.5f, -127.0f};
  Case c{DataType::kFloat32, 1, 16, 16, {}, {1.0f}, std::vector<float>(32, 1.0f)};
  std::vector<float> sums(32, 128.0f);
  for (int i = 0; i < 16; ++i) {
    float sum = 0.0f;
    // Sylvester's matrix is its own inverse
    for (int j = 0; j < 16; ++j) sum += __builtin_parity(i & j) ? -wanted[j] : wanted[j];
    sums[16 + i] = sum / 4.0f / 128.0f;
  }
  c.sums = encode(sums, c.type);
  std::vector<uint8_t> levels;
  for (const int level : {127, 0, 2, 2, 0, -2, -2, 4, 0, -4, 64, 66, 1, -2, 126, -127}) {
    levels.push_back(static_cast<uint8_t>(level));
  }
  for (int variant = 0; variant < variantCount(); ++variant, ++count.launches) {
    const Outputs found = onDevice(c, variant);
    expectSame(found.levels, levels, "levels of halves");
    expectSame(found.scales, {1.0f}, "scale");
  }
}

KERNEL_TEST(swigluLevelsNotANumber) {
  Random random(33);
  for (const DataType type : kTypes) {
    for (const float special : {NAN, INFINITY, -INFINITY}) {
      for (int round = 0; round < 6; ++round) {
        Case c = makeCase(random, type, 3, 64 * uniform(random, 1, 5), 64);
        std::vector<float> sums = decode(c.sums, type);
        // in one row: the others do not know
        sums[2 * c.width + uniform(random, 0, 2 * c.width - 1)] = special;
        c.sums = encode(sums, type);
        compare(c, count);
      }
    }
  }
}

KERNEL_TEST(swigluLevelsRandom) {
  Random random(34);
  for (const DataType type : kTypes) {
    for (int round = 0; round < 100; ++round) {
      const int block = blockOf(random);
      const int widest = (round % 10 == 0 ? 6000 : 400) / block;
      compare(
          makeCase(random, type, uniform(random, 1, 3), block * uniform(random, 1, widest), block),
          count);
    }
  }
}

KERNEL_TEST(swigluLevelsRefusals) {
  const auto refused = [&](kernels::Status status, void (*change)(SwigluLevelsParams&)) {
    ++count.cases;
    alignas(16) static float memory[64];
    SwigluLevelsParams p;
    p.rows = 1;
    p.width = p.block = 16;
    p.sums = p.byToken = p.byChannel = p.scales = memory;
    p.levels = reinterpret_cast<int8_t*>(memory);
    if (kernels::checkSwigluLevels(p) != kernels::kOk) fail("the unchanged case is refused");
    change(p);
    if (kernels::launchSwigluLevels(p, nullptr) != status) fail("not refused as it should be");
  };
  refused(kernels::kBadValue, [](SwigluLevelsParams& p) { p.block = 8; });
  refused(kernels::kBadValue, [](SwigluLevelsParams& p) { p.block = 128; });
  refused(kernels::kBadValue, [](SwigluLevelsParams& p) { p.type = static_cast<DataType>(7); });
  refused(kernels::kBadSize, [](SwigluLevelsParams& p) { p.width = 24; });
  refused(kernels::kBadSize, [](SwigluLevelsParams& p) { p.rows = 0; });
  refused(kernels::kBadSize, [](SwigluLevelsParams& p) { p.width = 1 << 30; });
  refused(kernels::kBadPointer, [](SwigluLevelsParams& p) { p.byChannel += 1; });
  refused(kernels::kBadPointer, [](SwigluLevelsParams& p) { p.levels += 4; });
  refused(kernels::kBadPointer, [](SwigluLevelsParams& p) { p.scales = nullptr; });
}
