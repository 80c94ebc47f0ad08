/* depthwise_run.h - the passes of depthwise.h over one run: one image's map of one block of
 * channels. depthwise.c puts runs together. */
#ifndef ENGINE_DEPTHWISE_RUN_H
#define ENGINE_DEPTHWISE_RUN_H

#include "nn/engine/depthwise.h"
#include "nn/vector.h"

/* One run's operands, offset to the run. Where no batch norm is, coefficients are those of one that
 * changes nothing. */
struct depthwise_run {
    enum precision type;
    int block, stride, h, w, dst_h, dst_w;
    const void *x, *g, *y;
    const float *norm, *next; /* coefficients */
    bool relu, next_relu;
    const float *weights;
    void *out;           /* forward: y; backward: diff_src */
    float *sums;         /* batch_norm_sums of the run; NULL: not wanted */
    float *diff_weights; /* [add] (3, 3, LANES) */
    float *rows;         /* depthwise_row_floats, zero; they are zero again at their ends */
};

/* Floats of `rows`: rows of f32 numbers with zeros around, of source and gradient. */
size_t depthwise_row_floats(int block, int w);

struct depthwise_kernels {
    void (*forward)(const struct depthwise_run *);
    void (*backward)(const struct depthwise_run *);
};

/* Those of cpu_level(). */
const struct depthwise_kernels *depthwise_kernels(void);

#endif
