#include "runtime/engine.h"

namespace semanticvla::runtime {

size_t typeBytes(const std::string& type) {
  if (type == "float32" || type == "int32") return 4;
  if (type == "bfloat16" || type == "float16") return 2;
  if (type == "int64") return 8;
  if (type == "uint8" || type == "int8" || type == "float8" || type == "bool") return 1;
  throw Failure(FailureKind::kPlan, "expected a tensor type that the session knows, found " + type);
}

size_t tensorBytes(const std::string& type, const Dims& dims) {
  size_t bytes = typeBytes(type);
  for (const int64_t size : dims) {
    size_t product = 0;
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(size), &product)) {
      throw Failure(FailureKind::kPlan, "expected fixed sizes, found " + describeDims(dims));
    }
    bytes = product;
  }
  return bytes;
}

std::string describeDims(const Dims& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + "]";
}

}  // namespace semanticvla::runtime
