#pragma once

#include "kernels/status.h"

namespace semanticvla::kernels {

/// Cameras of one batch, and the longest side of a frame.
constexpr int32_t kMaxFrames = 8;
constexpr int32_t kMaxFrameSide = 16384;
/// Side of the image that the reference makes before it crops, whatever size the towers take. A
/// policy of another size gets this image resized once more.
constexpr int32_t kReferenceSide = 224;
/// Largest side S of the towers' images.
constexpr int32_t kMaxImageSide = 4096;
/// Input columns that a block holds at a time.
constexpr int32_t kMaxColumns = 1024;

/// Filter taps of one axis: output i is the sum of weights[i * taps + k] * input[start[i] + k] over
/// k < count[i]. Device memory.
template <typename Weight>
struct TapTable {
  const int32_t* start = nullptr;
  const int32_t* count = nullptr;
  const Weight* weights = nullptr;
  int32_t taps = 0;
};

/// Neighbours of each output index and the weight of the higher one. Device memory.
struct CropTable {
  const int32_t* low = nullptr;
  const int32_t* high = nullptr;
  const float* lerp = nullptr;
};

/// One camera frame, [height, width, 3] uint8 in device memory.
struct PreprocessFrame {
  const uint8_t* pixels = nullptr;
  int32_t width = 0;
  int32_t height = 0;
  /// Channels are blue, green, red.
  bool bgr = false;
  /// height -> 224 and width -> 224; not looked at in a frame that is 224 x 224.
  TapTable<float> vertical;
  TapTable<float> horizontal;
  /// Outputs of `horizontal` in a row whose taps lie within kMaxColumns, wherever the row begins.
  int32_t outputsAtOnce = 0;
};

/// What one tower gets: (x / 255 - mean) / std per channel.
struct TowerInput {
  float mean[3] = {};
  float std[3] = {};
  /// [I, 3, S, S], `type`; null where the policy has no such tower.
  void* pixels = nullptr;
};

/// Frames to both towers' inputs (docs/model.md, Input 1). Tables: preprocessTables.h.
struct PreprocessImagesParams {
  /// Of the towers' inputs.
  DataType type = DataType::kFloat32;
  int32_t images = 0;
  PreprocessFrame frames[kMaxFrames];
  /// JPEG round trip before the resize.
  bool jpeg = true;
  bool centerCrop = true;
  CropTable crop;
  /// S: the towers' images.
  int32_t imageSide = kReferenceSide;
  /// 224 -> S for both axes, fixed point; not looked at when S is 224.
  TapTable<int32_t> again;
  /// [I, S, S, 3] uint8 RGB: what enters the normalization.
  uint8_t* cropped = nullptr;
  TowerInput towers[2];
  void* workspace = nullptr;
  size_t workspaceBytes = 0;
};

/// Whether a frame goes through JPEG and resize.
constexpr bool isResized(const PreprocessFrame& frame) {
  return frame.width != kReferenceSide || frame.height != kReferenceSide;
}

/// Bytes of a frame's image after the round trip, [height, width, 3] uint8, in the workspace.
inline size_t decodedBytes(const PreprocessFrame& frame, bool jpeg) {
  if (!jpeg || !isResized(frame)) return 0;
  const size_t bytes = static_cast<size_t>(frame.width) * static_cast<size_t>(frame.height) * 3;
  return (bytes + 15) / 16 * 16;
}

/// Bytes of `workspace`, aligned to 16, for these frames (from their sizes; pointers are not read).
inline size_t preprocessImagesWorkspace(const PreprocessImagesParams& p) {
  size_t bytes = 0;
  for (int32_t i = 0; i < p.images && i < kMaxFrames; ++i)
    bytes += decodedBytes(p.frames[i], p.jpeg);
  return bytes;
}

template <typename Weight>
bool isTable(const TapTable<Weight>& table) {
  return isAligned(table.start, 4) && isAligned(table.count, 4) && isAligned(table.weights, 4) &&
         table.taps > 0;
}

inline Status checkPreprocessImages(const PreprocessImagesParams& p) {
  if (!isDataType(p.type)) return kBadValue;
  if (p.images < 1 || p.images > kMaxFrames) return kBadSize;
  if (p.imageSide < 1 || p.imageSide > kMaxImageSide) return kBadSize;
  for (int32_t i = 0; i < p.images; ++i) {
    const PreprocessFrame& frame = p.frames[i];
    if (frame.width < 1 || frame.width > kMaxFrameSide) return kBadSize;
    if (frame.height < 1 || frame.height > kMaxFrameSide) return kBadSize;
    if (frame.pixels == nullptr) return kBadPointer;
    if (!isResized(frame)) continue;
    if (!isTable(frame.vertical) || !isTable(frame.horizontal)) return kBadPointer;
    if (frame.outputsAtOnce < 1) return kBadSize;
  }
  if (p.cropped == nullptr) return kBadPointer;
  if (p.imageSide != kReferenceSide && !isTable(p.again)) return kBadPointer;
  if (p.centerCrop &&
      !(isAligned(p.crop.low, 4) && isAligned(p.crop.high, 4) && isAligned(p.crop.lerp, 4))) {
    return kBadPointer;
  }
  for (const TowerInput& tower : p.towers) {
    if (tower.pixels == nullptr) continue;
    if (!isAligned(tower.pixels, sizeOf(p.type))) return kBadPointer;
    // Also refuses NaN, which no comparison admits.
    for (const float std : tower.std) {
      if (!(std > 0.0f)) return kBadValue;
    }
  }
  const size_t needed = preprocessImagesWorkspace(p);
  if (needed > 0 && !isAligned(p.workspace, 16)) return kBadPointer;
  if (p.workspaceBytes < needed) return kSmallWorkspace;
  return kOk;
}

/// JPEG round trip, Lanczos resize, centre crop, bicubic resize, normalization: bit for bit those
/// of native/reference (same tables, same order, no fused multiply-add). Two launches for the whole
/// batch; one where no frame takes the round trip.
Status launchPreprocessImages(const PreprocessImagesParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
