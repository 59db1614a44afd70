#pragma once

#include <map>
#include <string>

#include "runtime/engine.h"
#include "runtime/owned.h"

namespace semanticvla::runtime {

/// Tensors that share one allocation, in the order of their names.
struct Arena {
  struct Tensor {
    std::string type;
    Dims dims;
    size_t offset = 0;
    size_t bytes = 0;
  };
  std::map<std::string, Tensor> tensors;
  size_t bytes = 0;

  void add(const std::string& name, const std::string& type, const Dims& dims);
  /// Names and sizes as one string.
  std::string key() const;

 private:
  Layout layout_;
};

}  // namespace semanticvla::runtime
