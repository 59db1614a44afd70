#pragma once

#include "runtime/imagePipeline.h"

namespace semanticvla::runtime {

/// The preprocessing kernels behind ImagePipeline. Only in modules that hold kernels.
std::unique_ptr<ImagePipeline> makeKernelPipeline(const ImagePipelineRequest& request);

}  // namespace semanticvla::runtime
