#pragma once

#include "kernels/status.h"

namespace semanticvla::kernels {

/// Cameras of one batch, and the longest side of a frame.
constexpr int32_t kMaxFrames = 8;
constexpr int32_t kMaxFrameSide = 16384;
/// Side S of the towers' images. Policies of another size are resized once more, which only the CPU
/// path does.
constexpr int32_t kImageSide = 224;

/// Filter taps of one axis: output i is the sum of weights[i * taps + k] * input[start[i] + k] over
/// k < count[i]. Device memory.
struct ResizeTable {
  const int32_t* start = nullptr;
  const int32_t* count = nullptr;
  const float* weights = nullptr;
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
  /// height -> S and width -> S; not looked at in a frame that is S x S.
  ResizeTable vertical;
  ResizeTable horizontal;
};

/// What one tower gets: (x / 255 - mean) / std per channel.
struct TowerInput {
  float mean[3] = {};
  float std[3] = {};
  /// [I, 3, S, S], `type`; null where the policy has no such tower.
  void* pixels = nullptr;
};

/// Frames to both towers' inputs (spec, Input 1). Tables: preprocessTables.h.
struct PreprocessImagesParams {
  /// Of the towers' inputs.
  DataType type = DataType::kFloat32;
  int32_t images = 0;
  PreprocessFrame frames[kMaxFrames];
  /// JPEG round trip before the resize.
  bool jpeg = true;
  bool centerCrop = true;
  CropTable crop;
  /// [I, S, S, 3] uint8 after JPEG and resize; a frame that is S x S already leaves its image
  /// unwritten.
  uint8_t* resized = nullptr;
  /// [I, S, S, 3] uint8 RGB: what enters the normalization.
  uint8_t* cropped = nullptr;
  TowerInput towers[2];
  void* workspace = nullptr;
  size_t workspaceBytes = 0;
};

/// Whether a frame takes JPEG and resize.
constexpr bool isResized(const PreprocessFrame& frame) {
  return frame.width != kImageSide || frame.height != kImageSide;
}

/// Where the buffers of one frame lie in the workspace, in bytes from its begin.
struct PreprocessLayout {
  /// Row lengths of the planes Y and Cb, Cr: whole tiles of four MCUs.
  int32_t lumaStride = 0;
  int32_t chromaStride = 0;
  size_t luma = 0;
  size_t chroma[2] = {};
  /// [height, width, 3] uint8 after the round trip.
  size_t decoded = 0;
  /// [S, width, 3] float32 after the vertical pass.
  size_t tall = 0;
  size_t end = 0;
};

inline PreprocessLayout preprocessLayout(const PreprocessFrame& frame, bool jpeg, size_t begin) {
  PreprocessLayout at;
  size_t next = begin;
  const auto take = [&next](size_t bytes) {
    const size_t here = next;
    next += (bytes + 15) / 16 * 16;
    return here;
  };
  if (isResized(frame)) {
    const size_t width = static_cast<size_t>(frame.width),
                 height = static_cast<size_t>(frame.height);
    if (jpeg) {
      const size_t mcuRows = (height + 15) / 16;
      at.lumaStride = static_cast<int32_t>((width + 63) / 64 * 64);
      at.chromaStride = at.lumaStride / 2;
      at.luma = take(mcuRows * 16 * static_cast<size_t>(at.lumaStride));
      for (size_t& plane : at.chroma)
        plane = take(mcuRows * 8 * static_cast<size_t>(at.chromaStride));
      at.decoded = take(width * height * 3);
    }
    at.tall = take(static_cast<size_t>(kImageSide) * width * 3 * sizeof(float));
  }
  at.end = next;
  return at;
}

/// Bytes of `workspace`, aligned to 16, for these frames (sizes are looked at, pointers are not).
inline size_t preprocessImagesWorkspace(const PreprocessImagesParams& p) {
  size_t end = 0;
  for (int32_t i = 0; i < p.images && i < kMaxFrames; ++i) {
    end = preprocessLayout(p.frames[i], p.jpeg, end).end;
  }
  return end;
}

inline bool isTable(const ResizeTable& table) {
  return isAligned(table.start, 4) && isAligned(table.count, 4) && isAligned(table.weights, 4) &&
         table.taps > 0;
}

inline Status checkPreprocessImages(const PreprocessImagesParams& p) {
  if (!isDataType(p.type)) return kBadValue;
  if (p.images < 1 || p.images > kMaxFrames) return kBadSize;
  bool resizes = false;
  for (int32_t i = 0; i < p.images; ++i) {
    const PreprocessFrame& frame = p.frames[i];
    if (frame.width < 1 || frame.width > kMaxFrameSide) return kBadSize;
    if (frame.height < 1 || frame.height > kMaxFrameSide) return kBadSize;
    if (frame.pixels == nullptr) return kBadPointer;
    if (!isResized(frame)) continue;
    resizes = true;
    if (!isTable(frame.vertical) || !isTable(frame.horizontal)) return kBadPointer;
  }
  if (p.cropped == nullptr || (resizes && p.resized == nullptr)) return kBadPointer;
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
  if (resizes && !isAligned(p.workspace, 16)) return kBadPointer;
  if (p.workspaceBytes < preprocessImagesWorkspace(p)) return kSmallWorkspace;
  return kOk;
}

/// JPEG round trip, Lanczos resize, centre crop, normalization: bit for bit those of
/// native/reference (same tables, same order, no fused multiply-add).
Status launchPreprocessImages(const PreprocessImagesParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
