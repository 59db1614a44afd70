#pragma once

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace semanticvla {

/// Returns pages of freed memory to the operating system, from every arena. glibc keeps up to 64
/// MiB of them once a large block was freed, since that raises its thresholds.
/// @returns false: nothing was returned, or this C library has no such call
inline bool trimHeap() {
#if defined(__GLIBC__)
  return malloc_trim(0) == 1;
#else
  return false;
#endif
}

}  // namespace semanticvla
