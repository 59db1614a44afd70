#pragma once

#include <cstdint>

namespace semanticvla::plugins {

/// What the kernels take (native/kernels; kernelCalls.cpp compares): a network outside it is
/// refused when it is built, not when it runs.
constexpr int64_t kMostPatches = 1024;
constexpr int64_t kMostTextTokens = 64;
constexpr int64_t kMostTopk = 256;
constexpr int64_t kMostImages = 256;
constexpr int32_t kRotatedBlocks[] = {16, 32, 64};

}  // namespace semanticvla::plugins
