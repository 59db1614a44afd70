#include "reference/preprocessor.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "reference/pillowBicubic.h"

namespace semanticvla::reference {

namespace {

/// Input sizes whose taps are kept.
constexpr size_t kMaxAxes = 16;

/// Buffers larger than this, of unusually large frames, are freed.
constexpr size_t kMaxWorkspace = size_t{16} << 20;

/// [count, 3] blue-green-red to red-green-blue.
void swapChannels(const uint8_t* bgr, size_t count, uint8_t* rgb) {
  for (size_t i = 0; i < count; ++i) {
    rgb[3 * i] = bgr[3 * i + 2];
    rgb[3 * i + 1] = bgr[3 * i + 1];
    rgb[3 * i + 2] = bgr[3 * i];
  }
}

using Clock = std::chrono::steady_clock;

/// Milliseconds since `mark`, which moves to now.
double lap(Clock::time_point& mark) {
  const Clock::time_point now = Clock::now();
  const double ms = std::chrono::duration<double, std::milli>(now - mark).count();
  mark = now;
  return ms;
}

}  // namespace

size_t Preprocessor::Workspace::bytes() const {
  size_t total = rgb.capacity() + decoded.capacity() + cropped.capacity();
  for (const std::vector<uint8_t>& plane : jpeg.planes) total += plane.capacity();
  return total;
}

Team& Preprocessor::team(int threads) {
  if (!team_ || team_->size() != threads) {
    team_.reset();
    team_ = std::make_unique<Team>(threads);
  }
  return *team_;
}

std::shared_ptr<const ResizeAxis> Preprocessor::resizeAxis(int inSize) {
  std::lock_guard<std::mutex> lock(axesMutex_);
  auto& axis = resizeAxes_[inSize];
  if (!axis) {
    axis = std::make_shared<const ResizeAxis>(lanczosAxis(inSize, kReferenceImageSize));
    // Cameras have one size each; a caller that changes it at every call must not fill the memory.
    if (resizeAxes_.size() > kMaxAxes) {
      const auto kept = axis;
      resizeAxes_.clear();
      resizeAxes_[inSize] = kept;
      return kept;
    }
  }
  return axis;
}

void Preprocessor::run(const std::vector<Frame>& frames, const PreprocessOptions& options,
                       Preprocessed& result) {
  const int count = static_cast<int>(frames.size());
  const size_t imageBytes = static_cast<size_t>(options.imageSize) * options.imageSize * 3;
  result.images.resize(imageBytes * frames.size());
  result.resized.resize(frames.size());
  if (workspaces_.size() < frames.size()) workspaces_.resize(frames.size());
  Team& members = team(options.threads);
  // Whole frames in parallel while there is one for each member; the frames left over are split by
  // rows.
  const int whole = count / members.size() * members.size();
  result.times = StepTimes();
  Clock::time_point mark = Clock::now();
  members.run(whole, [&](int i) {
    processFrame(frames[i], options, workspaces_[i], alone_, result.resized[i],
                 result.images.data() + i * imageBytes);
  });
  StepTimes together;
  for (int i = 0; i < whole; ++i) together.add(workspaces_[i].times, 1);
  if (together.sum() > 0) result.times.add(together, lap(mark) / together.sum());
  for (int i = whole; i < count; ++i) {
    processFrame(frames[i], options, workspaces_[i], members, result.resized[i],
                 result.images.data() + i * imageBytes);
    result.times.add(workspaces_[i].times, 1);
  }
  for (Workspace& work : workspaces_) {
    if (work.bytes() > kMaxWorkspace) work = Workspace();
  }
}

void Preprocessor::processFrame(const Frame& frame, const PreprocessOptions& options,
                                Workspace& work, Team& team, std::vector<uint8_t>& resized,
                                uint8_t* out) {
  constexpr int kSize = kReferenceImageSize;
  constexpr size_t kBytes = static_cast<size_t>(kSize) * kSize * 3;
  const size_t pixels = static_cast<size_t>(frame.width) * frame.height;
  resized.clear();
  work.times = StepTimes();
  Clock::time_point mark = Clock::now();
  const uint8_t* rgb = frame.pixels;
  if (frame.bgr) {
    work.rgb.resize(pixels * 3);
    swapChannels(frame.pixels, pixels, work.rgb.data());
    rgb = work.rgb.data();
  }
  if (options.direct) {
    if (!options.centerCrop) {
      if (frame.width == options.imageSize && frame.height == options.imageSize) {
        std::memcpy(out, rgb, pixels * 3);
      } else {
        pillowBicubic(rgb, frame.width, frame.height, options.imageSize, options.imageSize, out);
      }
      work.times.resize = lap(mark);
      return;
    }
  } else if (frame.width != kSize || frame.height != kSize) {
    if (options.jpeg) {
      work.decoded.resize(pixels * 3);
      jpegRoundTrip(rgb, frame.width, frame.height, work.jpeg, team, work.decoded.data());
      rgb = work.decoded.data();
    }
    work.times.decode = lap(mark);
    resized.resize(kBytes);
    lanczosResize(rgb, *resizeAxis(frame.height), *resizeAxis(frame.width), team, resized.data());
    rgb = resized.data();
    work.times.resize = lap(mark);
  }
  const bool resizeAgain = options.imageSize != kSize;
  if (options.centerCrop) {
    if (resizeAgain) work.cropped.resize(kBytes);
    uint8_t* cropped = resizeAgain ? work.cropped.data() : out;
    // only a frame that nothing resized has another size
    const bool isSquare = !options.direct || (frame.width == kSize && frame.height == kSize);
    const CropAxis columns = isSquare ? cropAxis_ : centerCropAxis(frame.width, kSize);
    const CropAxis rows = isSquare ? cropAxis_ : centerCropAxis(frame.height, kSize);
    team.runRows(kSize, 1, [&](int begin, int end) {
      centerCropRows(rgb, isSquare ? kSize : frame.width, columns, rows, begin, end, cropped);
    });
    rgb = cropped;
  }
  if (resizeAgain) {
    pillowBicubic(rgb, kSize, kSize, options.imageSize, options.imageSize, out);
  } else if (!options.centerCrop) {
    std::memcpy(out, rgb, kBytes);
  }
  work.times.crop = lap(mark);
}

}  // namespace semanticvla::reference
