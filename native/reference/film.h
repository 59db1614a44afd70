#pragma once

#include "kernels/film.h"

namespace semanticvla::reference {

/// The kernel's twin on the CPU: same parameters, pointers to host memory.
kernels::Status film(const kernels::FilmParams& params);

}  // namespace semanticvla::reference
