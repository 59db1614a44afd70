#include "runtime/arena.h"

namespace semanticvla::runtime {

void Arena::add(const std::string& name, const std::string& type, const Dims& dims) {
  const size_t size = tensorBytes(type, dims);
  tensors[name] = {type, dims, layout_.add(size), size};
  bytes = layout_.bytes();
}

std::string Arena::key() const {
  std::string text;
  for (const auto& [name, tensor] : tensors) text += name + describeDims(tensor.dims);
  return text;
}

}  // namespace semanticvla::runtime
