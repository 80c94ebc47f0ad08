/* gram_kernel_avx512.c - vectors of 16, 16 of them in a tile. */
#if defined(__x86_64__)
#define LEVEL    avx512
#define FEATURES CPU_FEATURES_avx512
#define WIDTH    16
#define ROWS     16
#include "distill/gram_vector.h"
#endif
