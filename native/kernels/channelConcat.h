#pragma once

#include "kernels/status.h"

namespace semanticvla::kernels {

/// Sparse fusion, first half (docs/model.md, "Sparse fusion / projection"): row i of `joined` is
/// row `leftFirst + i` of `left`, then row i of `right`. With `leftFirst` and `leftRows` the query
/// rows are taken straight from the tower's output [prefix + patches + queries].
struct ChannelConcatParams {
  DataType type = DataType::kFloat32;
  int32_t images = 0;
  /// Rows K to join per image.
  int32_t rows = 0;
  /// Rows per image that `left` holds, and the first that is used.
  int32_t leftRows = 0;
  int32_t leftFirst = 0;
  int32_t leftWidth = 0;
  int32_t rightWidth = 0;
  /// [I, leftRows, leftWidth] and [I, K, rightWidth], `type`.
  const void* left = nullptr;
  const void* right = nullptr;
  /// [I, K, leftWidth + rightWidth], `type`; not overlapping the inputs.
  void* joined = nullptr;
};

inline Status checkChannelConcat(const ChannelConcatParams& p) {
  if (!isDataType(p.type)) return kBadValue;
  if (p.images < 1 || p.images > 65535 || p.rows < 1 || p.leftRows < 1) return kBadSize;
  if (p.leftWidth < 1 || p.rightWidth < 1 || p.leftWidth > INT32_MAX - p.rightWidth)
    return kBadSize;
  if (p.leftFirst < 0 || p.leftFirst > p.leftRows - p.rows) return kBadValue;
  const size_t element = sizeOf(p.type);
  if (!isAligned(p.left, element) || !isAligned(p.right, element)) return kBadPointer;
  if (!isAligned(p.joined, element)) return kBadPointer;
  return kOk;
}

/// Copies bits; no arithmetic.
Status launchChannelConcat(const ChannelConcatParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
