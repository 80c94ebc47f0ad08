/* batch_norm_kernel.h - batch normalisation with what follows it, in as few passes as possible.
 *
 * Forward:  y = relu(scale * (x - mean) / sqrt(var + epsilon) + shift + residual), batch statistics
 * over (n, h, w), biased variance; Ioffe and Szegedy 2015, algorithm 1. Two passes over x.
 * Backward: g = (sum of diffs) where y > 0; dscale = sum g xhat; dshift = sum g;
 *           dx = scale / sqrt(var + epsilon) * (g - mean(g) - xhat mean(g xhat)). Two passes.
 *
 * oneDNN 2.6 fuses neither the residual nor several gradients; each saved pass over a map is memory
 * bandwidth, which is all that batch norm costs. All sums are taken image by image and then added
 * in double in a fixed order: results do not depend on the number of threads.
 *
 * The first pass of either direction may be left to who writes x or the gradient of y, the second
 * to who reads y or dx (depthwise.h does both): sums and coefficients are handed over. */
#ifndef ENGINE_BATCH_NORM_KERNEL_H
#define ENGINE_BATCH_NORM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/tensor.h"

enum { BATCH_NORM_DIFFS = 4 };

struct shortcut; /* elementwise.h */

struct batch_norm_shape {
    struct tensor map; /* shape, blocked layout and type of x, y, residual, dx and every diff */
    float epsilon, momentum;
    bool relu, residual;
    int diff_count, threads;
    bool sums_known; /* they are in scratch: no first pass, and backward no views */
    /* NULL: the operand is a map of that shape; else what the shortcut makes of the operand. */
    const struct shortcut *residual_view, *diff_views[BATCH_NORM_DIFFS];
};

/* Floats of scratch for either direction, and of the coefficients of all blocks of channels, which
 * is what the second passes need (batch_norm_run.h). */
size_t batch_norm_scratch(const struct batch_norm_shape *shape);
size_t batch_norm_coefficients(const struct tensor *map);

/* Where in scratch the sums over an image's map of a block of channels lie, by lane; a lane holds
 * every LANES-th number. Forward: LANES sums of x - x0, LANES of their squares, and x0, which is
 * the first position's number (repeated where a block is narrower). Backward: LANES sums of g,
 * LANES of g * (x - mean). */
float *batch_norm_sums(const struct tensor *map, float *scratch, int image, int block);

/* Vectors hold the padded number of channels. */
struct batch_norm_forward {
    const void *x, *residual;          /* [in] residual NULL: none */
    void *y;                           /* [out] may be residual; NULL: not wanted */
    const float *scale, *shift;        /* [in] */
    float *running_mean, *running_var; /* [add] the latter takes in the unbiased variance */
    float *mean, *inverse;             /* [keep] of the batch; inverse = 1 / sqrt(var + epsilon) */
    float *coefficients;               /* [keep] a, b and mean are set */
    float *scratch;                    /* [tmp] */
};
void batch_norm_forward(const struct batch_norm_shape *shape,
                        const struct batch_norm_forward *data);

struct batch_norm_backward {
    const void *x;                       /* [in] */
    const void *y;                       /* [in] looked at with relu and residual only */
    const void *diffs[BATCH_NORM_DIFFS]; /* [in] summed */
    const float *scale, *mean, *inverse; /* [in] */
    float *coefficients;                 /* [in] a, b, mean; [out] p, q, r */
    void *g;  /* [out] the gradient before normalisation, which is the residual's;
                 may be one of diffs; NULL: not wanted (one diff only) */
    void *dx; /* [out] may be one of diffs; may be g, which is lost then; NULL: not wanted */
    float *diff_scale, *diff_shift; /* [out] */
    float *scratch;                 /* [tmp] */
};
void batch_norm_backward(const struct batch_norm_shape *shape,
                         const struct batch_norm_backward *data);

/* y = relu(x * a + b + residual) channel by channel, for inference where no convolution takes it
 * in. */
void batch_norm_apply(const struct batch_norm_shape *shape, const void *x, const void *residual,
                      void *y, const float *a, const float *b);

#endif
