#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/device.h"

namespace semanticvla::runtime {

/// Camera frames to one image input on the device: JPEG round trip, resize, centre crop, and the
/// towers' size.

struct FrameSize {
  int width = 0;
  int height = 0;
  bool bgr = false;
};

struct ImagePipelineRequest {
  std::vector<FrameSize> frames;
  bool jpeg = true;
  bool centerCrop = true;
  /// Side S of the image input.
  int imageSide = 0;
};

/// For frames of given sizes. Calls throw Failure.
class ImagePipeline {
 public:
  virtual ~ImagePipeline() = default;
  /// The caller copies them to the device once and passes the copy to `enqueue`.
  virtual const std::vector<uint8_t>& tables() const = 0;
  virtual size_t workspaceBytes() const = 0;
  /// [I, S, S, 3] uint8.
  virtual size_t imageBytes() const = 0;
  /// All in device memory; `images` has `imageBytes`.
  virtual void enqueue(const std::vector<const uint8_t*>& frames, const uint8_t* tables,
                       uint8_t* workspace, uint8_t* images, Stream stream) = 0;
};

}  // namespace semanticvla::runtime
