/* peak.c - multiply-adds from registers, compiled for each instruction-set level. */
#include "train/peak.h"

#include <omp.h>

#include "base/cpu.h"
#include "nn/vector.h"

/* More sums than a unit has under way (latency times units: 8), fewer than there are registers. */
enum { SUMS = 12, ROUNDS = 2000000, TRIES = 12 };

KERNEL_INLINE float multiply_add(int sums)
{
    vector sum[SUMS], factor = vector_of(0.5f), term = vector_of(0.25f);
#pragma GCC unroll 12
    for (int i = 0; i < sums; i++)
        sum[i] = vector_of((float)i);
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < sums; i++)
            sum[i] = sum[i] * factor + term;
    }
#pragma GCC unroll 12
    for (int i = 1; i < sums; i++)
        sum[0] += sum[i];
    return sum[0][0];
}

/* A vector of 16 is one register with AVX-512, two with AVX2, four else. */
#define SUMS_plain  3
#define SUMS_avx2   6
#define SUMS_avx512 12
#define DEFINE_LEVEL(level, features)                                                              \
    CPU_TARGET(features) static float multiply_add_##level(void)                                   \
    {                                                                                              \
        return multiply_add(SUMS_##level);                                                         \
    }
CPU_LEVELS(DEFINE_LEVEL)

static const struct {
    float (*run)(void);
    int sums;
} levels[] = {
#define LEVEL_ROW(level, features) {multiply_add_##level, SUMS_##level},
    CPU_LEVELS(LEVEL_ROW)};

double peak_gflops(int threads)
{
    const enum cpu_level level = cpu_level();
    const double flops = 2.0 * LANES * levels[level].sums * ROUNDS * threads;
    double best = 0;
    float sum = 0;
    for (int i = 0; i < TRIES; i++) {
        double start = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        sum += levels[level].run();
        double rate = flops / (omp_get_wtime() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return sum > 0 ? best : 0; /* the sum is positive, which the compiler cannot know */
}
