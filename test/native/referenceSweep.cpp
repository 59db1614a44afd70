// Every step on many sizes, for the sanitizers: buffers are exactly as large as stated, so that a
// byte read or written outside is seen. Also that teams of any size give the same bytes. Prints the
// number of cases.

#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "reference/centerCrop.h"
#include "reference/jpegRoundTrip.h"
#include "reference/lanczosResize.h"
#include "reference/normalizePixels.h"
#include "reference/pillowBicubic.h"
#include "reference/preprocessor.h"
#include "support/base64.h"
#include "support/lowRank.h"
#include "support/team.h"

using namespace semanticvla;
using namespace semanticvla::reference;

namespace {

int cases = 0;

void check(bool ok, const char* what, int width, int height) {
  ++cases;
  if (ok) return;
  std::fprintf(stderr, "%s differs at %d x %d\n", what, width, height);
  std::exit(1);
}

std::vector<uint8_t> draw(std::mt19937& random, int width, int height, bool extremes) {
  std::vector<uint8_t> image(static_cast<size_t>(width) * height * 3);
  for (uint8_t& value : image) {
    const uint32_t bits = random();
    value = static_cast<uint8_t>(extremes ? (bits & 1) * 255 : bits & 255);
  }
  return image;
}

void sweep(std::mt19937& random, int width, int height, Team& alone, Team& three) {
  const std::vector<uint8_t> image = draw(random, width, height, cases % 2 == 0);
  std::vector<uint8_t> one(image.size());
  std::vector<uint8_t> other(image.size());
  JpegWorkspace work;
  jpegRoundTrip(image.data(), width, height, work, alone, one.data());
  jpegRoundTrip(image.data(), width, height, work, three, other.data());
  check(one == other, "jpegRoundTrip", width, height);

  const int outWidth = 1 + static_cast<int>(random() % 70);
  const int outHeight = 1 + static_cast<int>(random() % 70);
  std::vector<uint8_t> small(static_cast<size_t>(outWidth) * outHeight * 3);
  std::vector<uint8_t> twin(small.size());
  const ResizeAxis vertical = lanczosAxis(height, outHeight);
  const ResizeAxis horizontal = lanczosAxis(width, outWidth);
  lanczosResize(image.data(), vertical, horizontal, alone, small.data());
  lanczosResize(image.data(), vertical, horizontal, three, twin.data());
  check(small == twin, "lanczosResize", width, height);
  pillowBicubic(image.data(), width, height, outWidth, outHeight, small.data());

  const int side = width;
  const std::vector<uint8_t> square = draw(random, side, side, false);
  std::vector<uint8_t> cropped(square.size());
  const CropAxis axis = centerCropAxis(side, side);
  centerCropRows(square.data(), side, axis, axis, 0, side, cropped.data());
  std::vector<float> values(cropped.size());
  normalizePixels(cropped.data(), 1, static_cast<size_t>(side) * side, {0.5f, 0.5f, 0.5f},
                  {0.5f, 0.5f, 0.5f}, values.data());
}

/// Texts of every length up to some steps of the wide loop, at the end of their memory, with and
/// without a character that is none of base64's.
void sweepBase64(std::mt19937& random) {
  const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t length = 0; length <= 200; ++length) {
    std::vector<uint8_t> text(length);
    for (uint8_t& character : text) character = static_cast<uint8_t>(alphabet[random() % 64]);
    std::vector<uint8_t> spoilt = text;
    const int64_t written = decodeBase64(text.data(), text.size());
    check(written == static_cast<int64_t>(length / 4 * 3), "base64", static_cast<int>(length), 0);
    if (length < 4) continue;
    spoilt[random() % (length / 4 * 4)] = static_cast<uint8_t>(128 + random() % 128);
    check(decodeBase64(spoilt.data(), spoilt.size()) == -1, "base64", static_cast<int>(length), 1);
  }
}

/// Weights of every size up to some tiles, against the plain loops.
void sweepLowRank(std::mt19937& random) {
  const auto drawn = [&](size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(static_cast<int32_t>(random())) * 1e-9f;
    return values;
  };
  for (size_t rows = 1; rows <= 9; ++rows) {
    for (size_t columns = 1; columns <= 40; ++columns) {
      const size_t rank = 1 + columns % 3;
      std::vector<float> weights = drawn(rows * columns);
      std::vector<float> twin = weights;
      const std::vector<float> a = drawn(rank * columns);
      const std::vector<float> b = drawn(rows * rank);
      for (size_t at = 0; at < twin.size(); ++at) {
        float sum = 0;
        for (size_t k = 0; k < rank; ++k)
          sum += a[k * columns + at % columns] * b[at / columns * rank + k];
        twin[at] += sum;
      }
      const bool isFinite = addLowRank(weights.data(), rows, columns, a.data(), b.data(), rank);
      check(isFinite && weights == twin, "lowRank", static_cast<int>(columns),
            static_cast<int>(rows));
    }
  }
}

}  // namespace

int main() {
  std::mt19937 random(7);
  Team alone(1);
  Team three(3);
  for (int height = 1; height <= 20; ++height) {
    for (int width = 1; width <= 20; ++width) sweep(random, width, height, alone, three);
  }
  for (int i = 0; i < 60; ++i) {
    sweep(random, 1 + static_cast<int>(random() % 150), 1 + static_cast<int>(random() % 150), alone,
          three);
  }
  sweepBase64(random);
  sweepLowRank(random);
  Preprocessor preprocessor;
  Preprocessed single;
  Preprocessed shared;
  for (int i = 0; i < 6; ++i) {
    const int width = 1 + static_cast<int>(random() % 300);
    const int height = 1 + static_cast<int>(random() % 300);
    const std::vector<uint8_t> image = draw(random, width, height, false);
    const std::vector<Frame> frames(1 + i % 3, Frame{image.data(), width, height, i % 2 == 0});
    PreprocessOptions options;
    options.imageSize = i % 2 == 0 ? 224 : 98;
    preprocessor.run(frames, options, single);
    options.threads = 3;
    preprocessor.run(frames, options, shared);
    check(single.images == shared.images, "preprocessor", width, height);
  }
  std::printf("%d cases\n", cases);
}
