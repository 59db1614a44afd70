#include "plugins/tensors.h"

#include <stdexcept>

namespace semanticvla::plugins {

void requireRank(const nvinfer1::Dims& dims, int32_t rank, const char* tensor) {
  if (dims.nbDims == rank) return;
  throw std::invalid_argument(std::string(tensor) + ": expected " + std::to_string(rank) +
                              " dimensions, found " + std::to_string(dims.nbDims));
}

void requireEqual(int64_t a, int64_t b, const char* what) {
  if (a < 0 || b < 0 || a == b) return;
  throw std::invalid_argument(std::string(what) + ": expected equal sizes, found " +
                              std::to_string(a) + " and " + std::to_string(b));
}

void requireRange(int64_t value, int64_t low, int64_t high, const char* what) {
  if (value < 0 || (value >= low && value <= high)) return;
  throw std::invalid_argument(std::string(what) + ": expected " + std::to_string(low) + ".." +
                              std::to_string(high) + ", found " + std::to_string(value));
}

void requireTopk(int32_t topk, int64_t most) {
  if (topk >= 1 && topk <= most) return;
  throw std::invalid_argument("topk: expected 1.." + std::to_string(most) + ", found " +
                              std::to_string(topk));
}

}  // namespace semanticvla::plugins
