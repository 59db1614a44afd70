#include "runtime/timingCache.h"

#ifndef TRT_MAJOR_RTX

#include <stdexcept>

namespace semanticvla::runtime {

namespace {

using Cache = std::unique_ptr<nvinfer1::ITimingCache>;

/// Null when TensorRT rejects the bytes; no bytes make an empty cache.
Cache create(const nvinfer1::IBuilderConfig& config, const std::vector<uint8_t>& bytes) {
  return Cache(config.createTimingCache(bytes.empty() ? nullptr : bytes.data(), bytes.size()));
}

std::string reasonOf(BuildLog& log) {
  const std::string reason = log.takeErrors();
  return reason.empty() ? "TensorRT does not take it" : "TensorRT does not take it: " + reason;
}

std::vector<uint8_t> serialized(const nvinfer1::ITimingCache& cache) {
  const std::unique_ptr<nvinfer1::IHostMemory> memory(cache.serialize());
  if (memory == nullptr) return {};
  const auto* bytes = static_cast<const uint8_t*>(memory->data());
  return {bytes, bytes + memory->size()};
}

}  // namespace

void TimingCache::attach(nvinfer1::IBuilderConfig& config, const std::vector<uint8_t>& bytes,
                         BuildLog& log) {
  if (!bytes.empty()) {
    cache_ = create(config, bytes);
    // false: the times of another device would be wrong
    if (cache_ != nullptr && config.setTimingCache(*cache_, false)) return;
    refused_ = reasonOf(log);
  }
  cache_ = create(config, {});
  if (cache_ == nullptr || !config.setTimingCache(*cache_, false)) {
    throw std::runtime_error("an empty timing cache: " + reasonOf(log));
  }
}

std::vector<uint8_t> TimingCache::bytes() const {
  return cache_ == nullptr ? std::vector<uint8_t>() : serialized(*cache_);
}

std::vector<uint8_t> TimingCache::combine(nvinfer1::IBuilderConfig& config,
                                          const std::vector<uint8_t>& first,
                                          const std::vector<uint8_t>& second, BuildLog& log) {
  const Cache all = create(config, first), more = create(config, second);
  if (all == nullptr || more == nullptr || !all->combine(*more, false)) {
    throw std::runtime_error("two timing caches: " + reasonOf(log));
  }
  return serialized(*all);
}

}  // namespace semanticvla::runtime

#endif
