/* batch_norm_run.h - the passes of batch norm over one run: one image's map of one block of
 * channels, h * w * block numbers in a row. batch_norm_kernel.c puts runs together. */
#ifndef ENGINE_BATCH_NORM_RUN_H
#define ENGINE_BATCH_NORM_RUN_H

#include "nn/engine/batch_norm_kernel.h"
#include "nn/vector.h"

/* Coefficients: what the second passes need of a block of channels, LANES numbers each, one per
 * channel and repeated where a block is narrower: y = x * a + b; dx = g * p + x * q + r. */
enum { A, B, MEAN, P, Q, R, COEFFICIENTS };

/* Sums that a pass leaves: LANES of the first kind, LANES of the second. */
enum { SUMS = 2 * LANES };

/* One run's operands, offset to the run. */
struct run {
    enum precision type;
    bool relu;
    int block, diff_count;
    size_t count;
    const void *x, *y, *residual, *diffs[BATCH_NORM_DIFFS];
    void *out, *g;
    const float *c; /* coefficients of its block */
    float *sums, *first;
};

struct run_kernels {
    /* sums [out] of x - x0 and of its square, x0 being the run's first position, which goes to
     * first [out]: no cancellation when the mean is large. */
    void (*sums)(const struct run *);
    /* out = relu(x * a + b + residual) */
    void (*apply)(const struct run *);
    /* sums [out] of g and of g * (x - mean); g [out] when wanted. */
    void (*backward_sums)(const struct run *);
    /* out = g * p + x * q + r, g being diffs[0] cut where the ReLU cut. */
    void (*backward_apply)(const struct run *);
};

/* Those of cpu_level(). */
const struct run_kernels *batch_norm_run_kernels(void);

#endif
