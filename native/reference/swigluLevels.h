#pragma once

#include <vector>

#include "kernels/swigluLevels.h"

namespace semanticvla::reference {

/// The kernel's twin on the CPU: same parameters, pointers to host memory. In float64 up to the
/// scale.
kernels::Status swigluLevels(const kernels::SwigluLevelsParams& params);

/// One row before it is rounded, by the definition: SwiGLU times Sylvester's matrix.
std::vector<double> rotatedSwiglu(const kernels::SwigluLevelsParams& params, int64_t row);

}  // namespace semanticvla::reference
