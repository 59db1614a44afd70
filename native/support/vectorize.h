#pragma once

/// `VECTORIZE` compiles a function a second time for AVX2 and lets the loader choose by the running
/// CPU; elsewhere it does nothing (NEON is part of every aarch64). It changes no result: the loops
/// are integer, or float without contraction. Needs ifunc support of the C library, hence glibc
/// only; sanitizers, which do not support ifunc, define it as nothing.
#ifndef VECTORIZE
#if defined(__x86_64__) && defined(__linux__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#include <features.h>
#ifdef __GLIBC__
#define VECTORIZE __attribute__((target_clones("avx2", "default")))
#endif
#endif
#endif
#ifndef VECTORIZE
#define VECTORIZE
#endif
#endif

/// Helpers of a VECTORIZE function must be inlined into each of its clones to be compiled for that
/// CPU.
#define INLINE inline __attribute__((always_inline))
