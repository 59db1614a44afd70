#include "reference/preprocessor.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace semanticvla::reference {

namespace {

/// [count, 3] blue-green-red to red-green-blue.
void swapChannels(const uint8_t* bgr, size_t count, uint8_t* rgb) {
  for (size_t i = 0; i < count; ++i) {
    rgb[3 * i] = bgr[3 * i + 2];
    rgb[3 * i + 1] = bgr[3 * i + 1];
    rgb[3 * i + 2] = bgr[3 * i];
  }
}

}  // namespace

Team& Preprocessor::team(int threads) {
  if (!team_ || team_->size() != threads) {
    team_.reset();
    team_ = std::make_unique<Team>(threads);
  }
  return *team_;
}

Preprocessed Preprocessor::run(const std::vector<Frame>& frames, const PreprocessOptions& options) {
  const int count = static_cast<int>(frames.size());
  const size_t imageBytes = static_cast<size_t>(options.imageSize) * options.imageSize * 3;
  Preprocessed result;
  result.images.resize(imageBytes * frames.size());
  result.resized.resize(frames.size());
  if (workspaces_.size() < frames.size()) workspaces_.resize(frames.size());
  Team& members = team(options.threads);
  // Whole frames in parallel while there is one for each member; the frames left over are split by rows.
  const int whole = count / members.size() * members.size();
  members.run(whole, [&](int i) {
    processFrame(frames[i], options, workspaces_[i], alone_, result.resized[i],
                 result.images.data() + i * imageBytes);
  });
  for (int i = whole; i < count; ++i) {
    processFrame(frames[i], options, workspaces_[i], members, result.resized[i],
                 result.images.data() + i * imageBytes);
  }
  return result;
}

void Preprocessor::processFrame(const Frame& frame, const PreprocessOptions& options, Workspace& work,
                                Team& team, std::vector<uint8_t>& resized, uint8_t* out) {
  constexpr int kSize = kReferenceImageSize;
  constexpr size_t kBytes = static_cast<size_t>(kSize) * kSize * 3;
  const size_t pixels = static_cast<size_t>(frame.width) * frame.height;
  const uint8_t* rgb = frame.pixels;
  if (frame.bgr) {
    work.rgb.resize(pixels * 3);
    swapChannels(frame.pixels, pixels, work.rgb.data());
    rgb = work.rgb.data();
  }
  if (frame.width != kSize || frame.height != kSize) throw std::logic_error("resize is not built in");
  (void)resized;
  if (options.imageSize != kSize) throw std::logic_error("resize is not built in");
  if (!options.centerCrop) {
    std::memcpy(out, rgb, kBytes);
    return;
  }
  team.runRows(kSize, 1, [&](int begin, int end) { centerCropRows(rgb, kSize, cropAxis_, begin, end, out); });
}

}  // namespace semanticvla::reference
