#pragma once

#include "onnxFile.h"

namespace standin {

/// Domain of the policy's own operations (lib/graph/onnxModel.ts).
constexpr const char* kOwnDomain = "semanticvla";

/// The same graph for ONNX Runtime's CPU provider. It has no arithmetic in bfloat16 and float16, so
/// every operator of those types computes in float32, and its result is rounded to the type: a
/// GPU's matrix product adds in float32 and rounds once too, but where TensorRT fuses operators it
/// rounds once for all of them. Operators that only move numbers are not rounded again. The
/// policy's own operations become one of ours for each type (ownOperators.h), which gets the
/// numbers in that type.
OnnxFile executable(const OnnxFile& file);

}  // namespace standin
