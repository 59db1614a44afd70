#pragma once

#include <NvInfer.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/buildLog.h"

// TensorRT-RTX measures nothing when it builds; its interface for this does nothing.
#ifndef TRT_MAJOR_RTX

namespace semanticvla::runtime {

/// How long each way of computing a layer took on this device, so that the next build need not
/// measure again. Must outlive the builder that uses it.
class TimingCache {
 public:
  /// `bytes` that TensorRT rejects (another device or version, damaged) are left out, and `refused`
  /// says why: they only save time. Throws std::exception when TensorRT takes no cache at all.
  void attach(nvinfer1::IBuilderConfig& config, const std::vector<uint8_t>& bytes, BuildLog& log);
  /// Why the bytes given to `attach` are not used; empty: they are, or there were none.
  const std::string& refused() const { return refused_; }
  std::vector<uint8_t> bytes() const;

  /// Merges two caches. Throws std::exception when TensorRT rejects one of them.
  static std::vector<uint8_t> combine(nvinfer1::IBuilderConfig& config,
                                      const std::vector<uint8_t>& first,
                                      const std::vector<uint8_t>& second, BuildLog& log);

 private:
  std::unique_ptr<nvinfer1::ITimingCache> cache_;
  std::string refused_;
};

}  // namespace semanticvla::runtime

#endif
