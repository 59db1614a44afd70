#pragma once

#include "kernels/textGuidedPooling.h"

namespace semanticvla::reference {

/// The kernel's twin on the CPU: same parameters, pointers to host memory.
kernels::Status textGuidedPooling(const kernels::TextGuidedPoolingParams& params);

}  // namespace semanticvla::reference
