/* winograd_avx512.c - Winograd kernels for blocks of 16 channels. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2,prefer-vector-width=512")
#endif
#define WIDTH   16
#define KERNELS winograd_kernels_avx512
#include "nn/engine/winograd_passes.h"
