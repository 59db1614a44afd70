#pragma once

#include "kernels/status.h"

namespace semanticvla::kernels {

/// SA-Pruner (docs/model.md): rows [first, first + rows) of each image.
struct QueryRowsParams {
  DataType type = DataType::kFloat32;
  int32_t images = 0;
  int32_t tokens = 0;
  int32_t first = 0;
  int32_t rows = 0;
  int32_t width = 0;
  /// [I, tokens, W], `type`.
  const void* tokenRows = nullptr;
  /// [I, rows, W], `type`; not overlapping the input.
  void* queries = nullptr;
};

inline Status checkQueryRows(const QueryRowsParams& p) {
  if (!isDataType(p.type)) return kBadValue;
  if (p.images < 1 || p.images > 65535 || p.tokens < 1 || p.rows < 1) return kBadSize;
  if (p.width < 1) return kBadSize;
  if (p.first < 0 || p.first > p.tokens - p.rows) return kBadValue;
  const size_t element = sizeOf(p.type);
  if (!isAligned(p.tokenRows, element) || !isAligned(p.queries, element)) return kBadPointer;
  return kOk;
}

/// Copies bits; no arithmetic.
Status launchQueryRows(const QueryRowsParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
