#pragma once

#include "kernels/status.h"

namespace semanticvla::kernels {

/// Limits of the kernel. The model has 256 patches, 64 text tokens and keeps 32.
constexpr int32_t kMaxPatches = 1024;
constexpr int32_t kMaxTextTokens = 64;
constexpr int32_t kMaxTopk = 256;
/// Most images of one launch. The plugin keeps one ticket for each.
constexpr int32_t kMaxImages = 256;

/// ID-Pruner, patch side (docs/model.md, "ID-Pruner"). I images, N patches, W wide; M text tokens.
/// All rows contiguous.
struct InstructionTopKParams {
  DataType type = DataType::kFloat32;
  int32_t images = 0;
  int32_t patches = 0;
  int32_t width = 0;
  int32_t textTokens = 0;
  int32_t topk = 0;
  /// [I, N, W] and [M, W], `type`.
  const void* patchRows = nullptr;
  const void* textRows = nullptr;
  /// [M], one byte each: 0 marks a masked token.
  const uint8_t* mask = nullptr;
  /// [I, topk, W], `type`: the kept patches, bit for bit, in ascending patch order.
  void* kept = nullptr;
  /// [I, topk], ascending.
  int64_t* indices = nullptr;
  /// [I, N, M]: cosine, -1 in masked columns.
  float* similarity = nullptr;
  void* workspace = nullptr;
  size_t workspaceBytes = 0;
  /// [I] in device memory: zero before the first launch, and every launch leaves them zero. No two
  /// launches that may run at the same time share them. The twin does not look at them.
  uint32_t* tickets = nullptr;
};

/// Bytes of `workspace`, aligned to 4: the scores [I, N].
constexpr size_t instructionTopKWorkspace(int32_t images, int32_t patches) {
  return static_cast<size_t>(images) * static_cast<size_t>(patches) * sizeof(float);
}

inline Status checkInstructionTopK(const InstructionTopKParams& p) {
  if (!isDataType(p.type)) return kBadValue;
  if (p.images < 1 || p.images > kMaxImages || p.width < 1) return kBadSize;
  if (p.patches < 1 || p.patches > kMaxPatches) return kBadSize;
  if (p.textTokens < 1 || p.textTokens > kMaxTextTokens) return kBadSize;
  if (p.topk < 1 || p.topk > kMaxTopk || p.topk > p.patches) return kBadTopk;
  const size_t element = sizeOf(p.type);
  if (!isAligned(p.patchRows, element) || !isAligned(p.textRows, element)) return kBadPointer;
  if (!isAligned(p.kept, element) || p.mask == nullptr) return kBadPointer;
  if (!isAligned(p.indices, 8) || !isAligned(p.similarity, 4)) return kBadPointer;
  if (!isAligned(p.workspace, 4)) return kBadPointer;
  if (p.workspaceBytes < instructionTopKWorkspace(p.images, p.patches)) return kSmallWorkspace;
  return kOk;
}

/// Similarity, mean score over all M columns, selection and gather. What it defines beyond
/// docs/model.md:
/// - a row whose squared length is NaN or overflows float32 is NaN in every unmasked similarity;
/// - the score is the sum over the columns in ascending order, divided by M;
/// - a NaN score ranks last; equal scores, two NaN too, rank the lower index first;
/// - with every token masked all scores are -1 and the first `topk` patches are kept.
/// One launch of one kernel.
Status launchInstructionTopK(const InstructionTopKParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
