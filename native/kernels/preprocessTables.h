#pragma once

#include <cstdint>
#include <vector>

#include "kernels/preprocessImages.h"

namespace semanticvla::kernels {

/// Filter taps and crop neighbours for frames and towers of given sizes, made on the host by the
/// reference's arithmetic (a device's sine differs). One block of bytes: the caller keeps a copy
/// of it in device memory as long as the sizes are these.
class PreprocessTables {
 public:
  /// Reads the sizes in `params.frames` and `params.imageSide`, and no pointer.
  explicit PreprocessTables(const PreprocessImagesParams& params);

  const std::vector<uint8_t>& bytes() const { return bytes_; }

  /// Points the tables of `params`, whose sizes are the constructor's, into the copy of `bytes()`
  /// at `copy` (aligned to 4).
  void attach(PreprocessImagesParams& params, const void* copy) const;

 private:
  /// Where an axis lies in the bytes.
  struct Axis {
    size_t start = 0;
    size_t count = 0;
    size_t weights = 0;
    int32_t taps = 0;
  };
  size_t append(const void* data, size_t bytes);
  Axis appendFrameAxis(int32_t size, int32_t* outputsAtOnce);
  template <typename Weight>
  Axis appendAxis(const std::vector<int>& start, const std::vector<int>& count,
                  const std::vector<Weight>& weights, int taps);

  std::vector<uint8_t> bytes_;
  Axis vertical_[kMaxFrames];
  Axis horizontal_[kMaxFrames];
  int32_t outputsAtOnce_[kMaxFrames] = {};
  Axis again_;
  size_t low_ = 0;
  size_t high_ = 0;
  size_t lerp_ = 0;
};

}  // namespace semanticvla::kernels
