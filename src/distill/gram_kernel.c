/* gram_kernel.c - the kernels of this machine. */
#include "distill/gram_kernel.h"

#define LEVEL_DECLARE(level, features) extern const struct gram_kernels gram_kernels_##level;
CPU_LEVELS(LEVEL_DECLARE)

const struct gram_kernels *gram_kernels(void)
{
    static const struct gram_kernels *const levels[] = {
#define LEVEL_ROW(level, features) &gram_kernels_##level,
        CPU_LEVELS(LEVEL_ROW)};
    return levels[cpu_level()];
}
