#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace semanticvla::runtime {

/// Bytes that stay where they are, in TensorRT's memory, a vector's or a mapped file's, as long as somebody holds them: a plan
/// with baked weights has 15 GB, and a copy of it would not fit.
struct Blob {
  std::shared_ptr<const void> owner;
  const uint8_t* data = nullptr;
  size_t bytes = 0;

  static Blob of(std::vector<uint8_t> bytes) {
    const auto owner = std::make_shared<const std::vector<uint8_t>>(std::move(bytes));
    return {owner, owner->data(), owner->size()};
  }
};

/// An open file, mapped; it may be closed then. Who verified it must have done so through this descriptor, and it is not
/// written to in place. Throws Failure kPlan.
Blob mapFile(int descriptor);

}  // namespace semanticvla::runtime
