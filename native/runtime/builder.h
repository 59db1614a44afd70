#pragma once

#include "runtime/module.h"

namespace semanticvla::runtime {

/// One ONNX model to one plan, strongly typed. On the calling thread; several may run at once.
/// Throws std::exception with TensorRT's own last errors; a cancelled build is no error.
BuildResult buildEngine(const EntryPoints& entryPoints, const BuildRequest& request);

}  // namespace semanticvla::runtime
