#pragma once

#include "kernels/instructionTopK.h"

namespace semanticvla::kernels {

/// ID-Pruner, text side (docs/model.md, "ID-Pruner"). I images, N patches, W wide; M text tokens.
/// All rows contiguous.
struct TextGuidedPoolingParams {
  DataType type = DataType::kFloat32;
  int32_t images = 0;
  int32_t patches = 0;
  int32_t width = 0;
  int32_t textTokens = 0;
  /// Text tokens to keep, at most M.
  int32_t topk = 0;
  /// Divides the similarities before the softmax; finite and above zero.
  float temperature = 1.0f;
  /// [I, N, W], `type`.
  const void* patchRows = nullptr;
  /// [I, N, M], as instructionTopK writes it.
  const float* similarity = nullptr;
  /// [I, topk, W], `type`.
  void* pooled = nullptr;
  /// [I, topk]: the kept text tokens, ascending.
  int64_t* indices = nullptr;
};

inline Status checkTextGuidedPooling(const TextGuidedPoolingParams& p) {
  if (!isDataType(p.type)) return kBadValue;
  // Also false for NaN; infinity would make every weight equal.
  if (!(p.temperature > 0.0f && p.temperature <= 3.4028234e38f)) return kBadValue;
  if (p.images < 1 || p.images > 65535 || p.width < 1) return kBadSize;
  if (p.patches < 1 || p.patches > kMaxPatches) return kBadSize;
  if (p.textTokens < 1 || p.textTokens > kMaxTextTokens) return kBadSize;
  if (p.topk < 1 || p.topk > p.textTokens) return kBadTopk;
  const size_t element = sizeOf(p.type);
  if (!isAligned(p.patchRows, element) || !isAligned(p.pooled, element)) return kBadPointer;
  if (!isAligned(p.similarity, 4) || !isAligned(p.indices, 8)) return kBadPointer;
  return kOk;
}

/// Mean score of each text token over the patches, selection, softmax over the patches and
/// weighted sum. What it defines beyond docs/model.md:
/// - the score is the sum over the patches in ascending order, divided by N;
/// - a NaN score ranks last; equal scores, two NaN too, rank the lower index first;
/// - weights and sums stay float32; only the result is rounded to `type`;
/// - with every token masked the first `topk` tokens are kept and each pools the plain mean.
Status launchTextGuidedPooling(const TextGuidedPoolingParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
