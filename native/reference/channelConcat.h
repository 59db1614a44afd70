#pragma once

#include "kernels/channelConcat.h"

namespace semanticvla::reference {

/// The kernel's twin on the CPU: same parameters, pointers to host memory.
kernels::Status channelConcat(const kernels::ChannelConcatParams& params);

}  // namespace semanticvla::reference
