#pragma once

#include "kernels/instructionTopK.h"

namespace semanticvla::reference {

/// The kernel's twin on the CPU: same parameters, pointers to host memory. Slow and simple.
kernels::Status instructionTopK(const kernels::InstructionTopKParams& params);

}  // namespace semanticvla::reference
