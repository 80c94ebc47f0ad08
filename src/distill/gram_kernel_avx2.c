/* gram_kernel_avx2.c - vectors of 8, 8 of them in a tile. */
#if defined(__x86_64__)
#define LEVEL    avx2
#define FEATURES CPU_FEATURES_avx2
#define WIDTH    8
#define ROWS     4
#include "distill/gram_vector.h"
#endif
