#pragma once

#include <cstddef>
#include <cstdint>

// The runtime's own declaration, repeated so that a launcher's header needs no CUDA header.
typedef struct CUstream_st* cudaStream_t;

namespace semanticvla::kernels {

/// Storage type of rows and weights. Arithmetic is float32 whatever the storage is.
enum class DataType : int32_t { kFloat32 = 0, kFloat16 = 1, kBfloat16 = 2 };

/// Bytes of one element.
constexpr size_t sizeOf(DataType type) { return type == DataType::kFloat32 ? 4 : 2; }

/// What a launcher returns: 0, a refusal below zero, or the cudaError_t of the launch above zero.
/// A refused launch has started nothing.
using Status = int32_t;

constexpr Status kOk = 0;
/// A size is zero, negative or above the kernel's stated limit.
constexpr Status kBadSize = -1;
/// topk is below 1, above its limit, or above the number of rows to choose from.
constexpr Status kBadTopk = -2;
/// A pointer that must be set is null, or is not aligned to its element.
constexpr Status kBadPointer = -3;
/// The workspace is smaller than the workspace function says.
constexpr Status kSmallWorkspace = -4;
/// A value is outside its range: the temperature, a row range, an unknown data type.
constexpr Status kBadValue = -5;

/// One line for a message. Launch errors are only named as such: cudaGetErrorString describes them.
inline const char* statusText(Status status) {
  switch (status) {
    case kOk:
      return "ok";
    case kBadSize:
      return "a size is zero, negative or above the kernel's limit";
    case kBadTopk:
      return "topk is below 1 or above what there is to choose from";
    case kBadPointer:
      return "a pointer is null or not aligned to its element";
    case kSmallWorkspace:
      return "the workspace is too small";
    case kBadValue:
      return "a value is outside its range";
    default:
      return "the launch failed with a CUDA error";
  }
}

constexpr bool isDataType(DataType type) {
  return type == DataType::kFloat32 || type == DataType::kFloat16 || type == DataType::kBfloat16;
}

/// Set, and a multiple of the element's size.
inline bool isAligned(const void* pointer, size_t bytes) {
  return pointer != nullptr && reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

}  // namespace semanticvla::kernels
