#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace semanticvla::runtime {

/// Bytes that stay where they are (in TensorRT's memory, a vector or a mapped file) as long as
/// somebody holds them: a plan with baked weights is 15 GB, and a copy would not fit.
struct Blob {
  std::shared_ptr<const void> owner;
  const uint8_t* data = nullptr;
  size_t bytes = 0;

  static Blob of(std::vector<uint8_t> bytes) {
    const auto owner = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
    return {owner, owner->data(), owner->size()};
  }
};

/// Maps an open file, which may be closed afterwards. It must have been verified through this very
/// descriptor, and must not be written in place. Throws Failure kPlan.
Blob mapFile(int descriptor);

}  // namespace semanticvla::runtime
