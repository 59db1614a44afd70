#pragma once

#include "kernels/queryRows.h"

namespace semanticvla::reference {

/// The kernel's twin on the CPU: same parameters, pointers to host memory.
kernels::Status queryRows(const kernels::QueryRowsParams& params);

}  // namespace semanticvla::reference
