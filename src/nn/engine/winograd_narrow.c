/* winograd_narrow.c - Winograd kernels for blocks of 8 channels: AVX2, or whatever the compiler
 * makes of vectors of 8 on other processors. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,bmi2")
#endif
#define WIDTH   8
#define KERNELS winograd_kernels_narrow
#include "nn/engine/winograd_passes.h"
