#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "reference/centerCrop.h"
#include "reference/jpegRoundTrip.h"
#include "reference/lanczosResize.h"
#include "support/team.h"

namespace semanticvla::reference {

/// Side of the image that the reference makes before it crops, whatever size the policy's towers
/// take (its constant OPENVLA_IMAGE_SIZE). A policy of another size gets this image resized once
/// more, by its image processor.
constexpr int kReferenceImageSize = 224;

/// One camera frame, [height, width, 3] uint8; the caller keeps `pixels` alive.
struct Frame {
  const uint8_t* pixels = nullptr;
  int width = 0;
  int height = 0;
  /// Channels are blue, green, red.
  bool bgr = false;
};

struct PreprocessOptions {
  /// Side S of the square image that enters the towers.
  int imageSize = kReferenceImageSize;
  bool centerCrop = true;
  /// JPEG round trip before the resize.
  bool jpeg = true;
  /// OpenVLA's own way instead of its successors': no JPEG and no Lanczos; the crop reads the frame
  /// at its own size, and without a crop the image processor (Pillow's bicubic) resizes it.
  bool direct = false;
  /// Members of the team, the calling thread included.
  int threads = 1;
};

/// Milliseconds of the steps. Frames processed in parallel share the elapsed time in proportion, so
/// that the three add up to it.
struct StepTimes {
  /// JPEG round trip, and the exchange of the channels before it.
  double decode = 0;
  double resize = 0;
  /// Crop, and the second resize of a policy whose towers take another size.
  double crop = 0;

  double sum() const { return decode + resize + crop; }
  void add(const StepTimes& other, double scale) {
    decode += other.decode * scale;
    resize += other.resize * scale;
    crop += other.crop * scale;
  }
};

struct Preprocessed {
  /// [I, S, S, 3] uint8 RGB: what enters the normalization.
  std::vector<uint8_t> images;
  /// Per frame [224, 224, 3] after JPEG and Lanczos; empty where the frame has that size already.
  std::vector<std::vector<uint8_t>> resized;
  StepTimes times;
};

/// Frames to policy images (docs/model.md, Input 1). Keeps its threads, tables and buffers between
/// calls; one caller at a time.
class Preprocessor {
 public:
  /// Writes into `result`, whose buffers are reused when they are large enough.
  void run(const std::vector<Frame>& frames, const PreprocessOptions& options,
           Preprocessed& result);

 private:
  /// Buffers of one frame in progress, reused from call to call.
  struct Workspace {
    std::vector<uint8_t> rgb;
    std::vector<uint8_t> decoded;
    std::vector<uint8_t> cropped;
    JpegWorkspace jpeg;
    /// Of the frame's latest pass.
    StepTimes times;
    size_t bytes() const;
  };

  Team& team(int threads);
  void processFrame(const Frame& frame, const PreprocessOptions& options, Workspace& work,
                    Team& team, std::vector<uint8_t>& resized, uint8_t* out);

  /// The taps from `inSize` pixels to the reference's size; computed once per size.
  std::shared_ptr<const ResizeAxis> resizeAxis(int inSize);

  std::unique_ptr<Team> team_;
  Team alone_{1};
  CropAxis cropAxis_ = centerCropAxis(kReferenceImageSize, kReferenceImageSize);
  std::mutex axesMutex_;
  std::map<int, std::shared_ptr<const ResizeAxis>> resizeAxes_;
  std::vector<Workspace> workspaces_;
};

}  // namespace semanticvla::reference
