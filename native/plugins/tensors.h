#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace semanticvla::plugins {

/// Throws unless `dims` has `rank` dimensions. `tensor`: its name, for the message.
void requireRank(const nvinfer1::Dims& dims, int32_t rank, const char* tensor);
/// Throws when both are known and differ.
void requireEqual(int64_t a, int64_t b, const char* what);
/// Throws unless `value` is in [low, high], or not known yet (below 0).
void requireRange(int64_t value, int64_t low, int64_t high, const char* what);

/// Throws unless `topk` is in [1, most].
void requireTopk(int32_t topk, int64_t most);

}  // namespace semanticvla::plugins
