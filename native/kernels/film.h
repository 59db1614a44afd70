#pragma once

#include "kernels/status.h"

namespace semanticvla::kernels {

/// FiLM (docs/model.md, "DINOv2"): x * (1 + gamma) + beta for every token, gamma and beta shared by
/// all.
struct FilmParams {
  DataType type = DataType::kFloat32;
  int32_t rows = 0;
  int32_t width = 0;
  /// [rows, W], `type`.
  const void* tokens = nullptr;
  /// [W] each, `type`.
  const void* gamma = nullptr;
  const void* beta = nullptr;
  /// [rows, W], `type`; may be `tokens` itself.
  void* modulated = nullptr;
};

inline Status checkFilm(const FilmParams& p) {
  if (!isDataType(p.type)) return kBadValue;
  if (p.rows < 1 || p.width < 1) return kBadSize;
  const size_t element = sizeOf(p.type);
  if (!isAligned(p.tokens, element) || !isAligned(p.gamma, element)) return kBadPointer;
  if (!isAligned(p.beta, element) || !isAligned(p.modulated, element)) return kBadPointer;
  return kOk;
}

/// 1 + gamma is rounded to float32, the rest is one fused multiply-add, then rounded to `type`.
Status launchFilm(const FilmParams& params, cudaStream_t stream);

}  // namespace semanticvla::kernels
