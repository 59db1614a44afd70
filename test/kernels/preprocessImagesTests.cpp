#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "device.h"
#include "kernels/preprocessImages.h"
#include "kernels/preprocessTables.h"
#include "reference/normalizePixels.h"
#include "reference/preprocessor.h"

using namespace kernelTest;
using kernels::kReferenceSide;
using kernels::PreprocessImagesParams;

namespace {

struct FrameSize {
  int width, height;
  bool bgr;
};

struct Case {
  DataType type;
  std::vector<FrameSize> frames;
  bool jpeg;
  bool centerCrop;
  std::vector<std::vector<uint8_t>> pixels;
  /// A policy with one tower leaves the other out.
  bool oneTower = false;
  /// Of the towers' images.
  int side = kReferenceSide;
  size_t imagePixels() const { return static_cast<size_t>(side) * side; }
};

constexpr std::array<float, 3> kMeans[2] = {{0.484375f, 0.455078125f, 0.40625f},
                                            {0.5f, 0.5f, 0.5f}};
constexpr std::array<float, 3> kStds[2] = {{0.229f, 0.224f, 0.225f}, {0.5f, 0.5f, 0.5f}};

/// Smooth and noisy frames: noise alone never saturates after a filter, gradients alone never ring.
std::vector<uint8_t> drawn(Random& random, const FrameSize& size) {
  std::vector<uint8_t> pixels(static_cast<size_t>(size.width) * size.height * 3);
  const int noise = uniform(random, 0, 2) * 120, dx = uniform(random, 0, 30),
            dy = uniform(random, 0, 30);
  for (size_t i = 0; i < pixels.size(); ++i) {
    const int x = static_cast<int>(i / 3 % size.width), y = static_cast<int>(i / 3 / size.width);
    const int base = (x * dx + y * dy + static_cast<int>(i % 3) * 85) % 511;
    const int value =
        (base > 255 ? 510 - base : base) + (noise ? uniform(random, -noise, noise) : 0);
    pixels[i] = static_cast<uint8_t>(std::clamp(value, 0, 255));
  }
  return pixels;
}

Case makeCase(Random& random, DataType type, std::vector<FrameSize> frames, bool jpeg, bool crop) {
  Case c{type, std::move(frames), jpeg, crop, {}};
  for (const FrameSize& size : c.frames) c.pixels.push_back(drawn(random, size));
  return c;
}

struct Twin {
  reference::Preprocessed images;
  std::vector<uint8_t> towers[2];
};

Twin twin(const Case& c) {
  Twin out;
  std::vector<reference::Frame> frames;
  for (size_t i = 0; i < c.frames.size(); ++i) {
    frames.push_back({c.pixels[i].data(), c.frames[i].width, c.frames[i].height, c.frames[i].bgr});
  }
  reference::Preprocessor preprocessor;
  preprocessor.run(frames, {c.side, c.centerCrop, c.jpeg, false, 1}, out.images);
  for (int tower = 0; tower < 2; ++tower) {
    std::vector<float> values(frames.size() * c.imagePixels() * 3);
    reference::normalizePixels(out.images.images.data(), frames.size(), c.imagePixels(),
                               kMeans[tower], kStds[tower], values.data());
    out.towers[tower] = encode(values, c.type);
  }
  return out;
}

/// In all variants, or in one: everything is compared to the bit, so every variant checks alone.
void compare(const Case& c, Count& count, int only = -1) {
  ++count.cases;
  const Twin expected = twin(c);
  const size_t imageBytes = c.frames.size() * c.imagePixels() * 3;
  PreprocessImagesParams p;
  p.type = c.type;
  p.images = static_cast<int32_t>(c.frames.size());
  p.jpeg = c.jpeg;
  p.centerCrop = c.centerCrop;
  p.imageSide = c.side;
  std::vector<std::unique_ptr<Buffer>> frames;
  for (int i = 0; i < p.images; ++i) {
    // Frames lie at any byte.
    frames.push_back(std::make_unique<Buffer>(c.pixels[i], i));
    p.frames[i].pixels = frames[i]->data<uint8_t>();
    p.frames[i].width = c.frames[i].width;
    p.frames[i].height = c.frames[i].height;
    p.frames[i].bgr = c.frames[i].bgr;
  }
  const kernels::PreprocessTables tables(p);
  const Buffer tableBytes(tables.bytes(), 0);
  tables.attach(p, tableBytes.data());
  p.workspaceBytes = kernels::preprocessImagesWorkspace(p);
  for (int variant = 0; variant < variantCount(); ++variant) {
    if (only >= 0 && variant != only) continue;
    ++count.launches;
    const unsigned char fill = fillOf(variant);
    const Buffer cropped(imageBytes, 0, fill);
    const Buffer first(imageBytes * kernels::sizeOf(c.type), 0, fill);
    const Buffer second(imageBytes * kernels::sizeOf(c.type), 0, fill);
    const Buffer workspace(p.workspaceBytes, 0, fill);
    const Buffer* towers[2] = {&first, &second};
    for (int tower = 0; tower < 2; ++tower) {
      std::copy(kMeans[tower].begin(), kMeans[tower].end(), p.towers[tower].mean);
      std::copy(kStds[tower].begin(), kStds[tower].end(), p.towers[tower].std);
      p.towers[tower].pixels = towers[tower]->data();
    }
    if (c.oneTower) p.towers[1].pixels = nullptr;
    p.cropped = cropped.data<uint8_t>();
    p.workspace = workspace.data();
    selectVariant(variant);
    finish(kernels::launchPreprocessImages(p, nullptr));
    workspace.download("workspace");
    expectSame(cropped.download("cropped"), expected.images.images, "cropped");
    expectSame(first.download("first tower"), expected.towers[0], "first tower");
    const std::vector<uint8_t> unused(second.download("second tower").size(), fill);
    expectSame(second.download("second tower"), c.oneTower ? unused : expected.towers[1],
               "second tower");
  }
}

}  // namespace

KERNEL_TEST(preprocessImagesCameras) {
  Random random(41);
  compare(makeCase(random, DataType::kBfloat16, {{256, 256, false}, {256, 256, true}}, true, true),
          count);
  compare(makeCase(random, DataType::kFloat32, {{640, 480, false}, {224, 224, true}}, true, true),
          count);
  compare(makeCase(random, DataType::kFloat16, {{320, 240, true}, {224, 224, false}}, false, true),
          count);
  compare(makeCase(random, DataType::kFloat32, {{224, 224, true}, {224, 224, false}}, true, false),
          count);
  Case c = makeCase(random, DataType::kBfloat16,
                    {{100, 300, false}, {300, 100, false}, {223, 225, true}}, true, false);
  c.oneTower = true;
  compare(c, count);
}

KERNEL_TEST(preprocessImagesEdges) {
  Random random(42);
  // Sizes around blocks, MCUs and tiles, and those whose chroma has one or two columns.
  const FrameSize sizes[] = {{1, 1, false},   {1, 40, false},  {2, 2, true},   {3, 5, false},
                             {4, 4, false},   {5, 3, true},    {8, 8, false},  {9, 17, false},
                             {15, 16, false}, {16, 15, false}, {17, 33, true}, {31, 64, false},
                             {63, 1, false},  {64, 31, false}, {65, 47, true}, {129, 18, false}};
  for (const FrameSize& size : sizes) {
    compare(makeCase(random, DataType::kFloat32, {size}, true, true), count);
  }
  compare(makeCase(random, DataType::kFloat32, {{3, 700, false}, {1100, 2, true}}, true, true),
          count);
}

KERNEL_TEST(preprocessImagesTowerSizes) {
  Random random(44);
  // Patch multiples of other towers, enlarged and reduced; a strip of 384 columns and one more; a
  // pixel.
  for (const int side : {384, 378, 336, 448, 196, 112, 28, 385, 223, 225, 2, 1}) {
    const bool crop = uniform(random, 0, 2) > 0;
    Case c = makeCase(random, kTypes[side % 3], {{72, 40, side % 2 == 0}}, side > 100, crop);
    if (side == 384) {
      c = makeCase(random, DataType::kBfloat16, {{256, 256, false}, {224, 224, true}}, true, true);
    }
    c.side = side;
    compare(c, count, side == 384 ? -1 : side % 3);
  }
}

KERNEL_TEST(preprocessImagesWideFrames) {
  Random random(45);
  // More columns than a block holds at a time; rows that are whole words, and such that are not.
  for (const int width : {1024, 1025, 1200, 2050, 6000}) {
    const FrameSize size{width, uniform(random, 1, 6), true};
    compare(makeCase(random, DataType::kFloat32, {size}, false, true), count, width % 3);
  }
  compare(makeCase(random, DataType::kBfloat16, {{1280, 90, false}, {90, 720, false}}, true, false),
          count);
}

KERNEL_TEST(preprocessImagesRandom) {
  Random random(43);
  for (const DataType type : kTypes) {
    for (int round = 0; round < 100; ++round) {
      std::vector<FrameSize> frames;
      const int images = round % 50 == 0 ? 8 : round % 5 == 0 ? 2 : 1;
      for (int i = 0; i < images; ++i) {
        const bool exact = uniform(random, 0, 7) == 0;
        frames.push_back({exact ? kReferenceSide : uniform(random, 1, 100),
                          exact ? kReferenceSide : uniform(random, 1, 100),
                          uniform(random, 0, 1) == 1});
      }
      Case c = makeCase(random, type, frames, uniform(random, 0, 3) > 0, uniform(random, 0, 3) > 0);
      c.oneTower = uniform(random, 0, 9) == 0;
      if (round % 4 == 1) c.side = uniform(random, 1, 300);
      compare(c, count, round % variantCount());
    }
  }
}

KERNEL_TEST(preprocessImagesRefusals) {
  const auto refused = [&](kernels::Status status, void (*change)(PreprocessImagesParams&)) {
    ++count.cases;
    alignas(16) static uint8_t memory[64];
    PreprocessImagesParams p;
    p.images = 1;
    p.frames[0].pixels = p.cropped = memory;
    p.frames[0].width = p.frames[0].height = kReferenceSide;
    p.centerCrop = false;
    if (kernels::checkPreprocessImages(p) != kernels::kOk) fail("the unchanged case is refused");
    change(p);
    if (kernels::launchPreprocessImages(p, nullptr) != status) fail("not refused as it should be");
  };
  refused(kernels::kBadSize, [](PreprocessImagesParams& p) { p.images = 9; });
  refused(kernels::kBadSize, [](PreprocessImagesParams& p) { p.frames[0].width = 0; });
  refused(kernels::kBadSize, [](PreprocessImagesParams& p) { p.frames[0].height = 16385; });
  refused(kernels::kBadPointer, [](PreprocessImagesParams& p) { p.frames[0].pixels = nullptr; });
  refused(kernels::kBadPointer, [](PreprocessImagesParams& p) { p.centerCrop = true; });
  refused(kernels::kBadSize, [](PreprocessImagesParams& p) { p.imageSide = 0; });
  refused(kernels::kBadSize,
          [](PreprocessImagesParams& p) { p.imageSide = kernels::kMaxImageSide + 1; });
  // Another size needs taps, of the frame and of the towers.
  refused(kernels::kBadPointer, [](PreprocessImagesParams& p) { p.imageSide = 225; });
  refused(kernels::kBadPointer, [](PreprocessImagesParams& p) { p.frames[0].width = 225; });
  refused(kernels::kBadValue, [](PreprocessImagesParams& p) { p.towers[0].pixels = p.cropped; });
  refused(kernels::kSmallWorkspace, [](PreprocessImagesParams& p) {
    static int32_t table[2] = {};
    p.frames[0].width = 225;
    p.frames[0].vertical =
        p.frames[0].horizontal = {table, table, reinterpret_cast<float*>(table), 1};
    p.frames[0].outputsAtOnce = kReferenceSide;
    p.workspace = p.cropped;
  });
}
