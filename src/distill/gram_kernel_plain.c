/* gram_kernel_plain.c - what every machine has: vectors of 4, or whatever the compiler makes of
 * them. */
#define LEVEL    plain
#define FEATURES CPU_FEATURES_plain
#define WIDTH    4
#define ROWS     2
#include "distill/gram_vector.h"
