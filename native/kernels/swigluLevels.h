#pragma once

#include "kernels/status.h"

namespace semanticvla::kernels {

/// What `down` reads in 8 bits (docs/precision.md, "On GPUs"), from the raw sums of gate and up:
/// SwiGLU, rotation by a Hadamard matrix in blocks, rounding by the token's own largest magnitude.
struct SwigluLevelsParams {
  /// Of `sums`.
  DataType type = DataType::kFloat32;
  int32_t rows = 0;
  /// F, a multiple of `block`.
  int32_t width = 0;
  /// Columns that are rotated together: 16, 32 or 64.
  int32_t block = 0;
  /// [rows, 2 F], `type`: gate, then up, each still to be multiplied by both scales. Aligned to 16
  /// bytes.
  const void* sums = nullptr;
  /// float32 [rows] and [2 F], the latter aligned to 16 bytes.
  const float* byToken = nullptr;
  const float* byChannel = nullptr;
  /// int8 [rows, F], from -127 to 127; aligned to 8 bytes.
  int8_t* levels = nullptr;
  /// float32 [rows]: what a level of the row is worth.
  float* scales = nullptr;
};

/// Bytes of the widest load.
constexpr size_t kSwigluLevelsAlignment = 16;

constexpr bool isRotatedBlock(int32_t block) { return block == 16 || block == 32 || block == 64; }

inline Status checkSwigluLevels(const SwigluLevelsParams& p) {
  if (!isDataType(p.type) || !isRotatedBlock(p.block)) return kBadValue;
  if (p.rows < 1 || p.width < 1 || p.width > INT32_MAX / 2) return kBadSize;
  if (p.width % p.block != 0) return kBadSize;
  if (!isAligned(p.sums, kSwigluLevelsAlignment)) return kBadPointer;
  if (!isAligned(p.byChannel, kSwigluLevelsAlignment)) return kBadPointer;
  if (!isAligned(p.byToken, sizeof(float)) || !isAligned(p.scales, sizeof(float)))
    return kBadPointer;
  if (!isAligned(p.levels, 8)) return kBadPointer;
  return kOk;
}

/// float32 from the sums to the levels. A level is the nearest integer, half to even, of value /
/// scale; scale = (largest magnitude of the row + 1e-30) / 127. A row that holds NaN or infinity
/// has that as its scale and levels 0: whatever they are multiplied with, it stays no number.
Status launchSwigluLevels(const SwigluLevelsParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
