/* depthwise.h - 3x3 depthwise convolution, together with the batch norms around it.
 *
 * A depthwise convolution does nine multiplications per number: it costs what moving its maps
 * costs, and so do batch norm and ReLU before and after it. Here a map is read and written once for
 * all of them:
 *
 *   forward    src = relu(x * a + b) is made while x is read; sums of y, which the next batch norm
 *              needs for its statistics, are taken while y is written
 *   backward   the gradient of y is g * p + y * q + r, made while g and y are read; gradient of the
 *              weights, gradient of src, and the sums that the batch norm before needs are taken in
 *              the same pass
 *
 * (a, b, p, q, r: coefficients of batch_norm_kernel.h.) Zeros of width 1 are around the source,
 * rows and columns are stepped over by the stride: y[oh][ow] = sum w[i][j] src[oh * stride + i - 1]
 * [ow * stride + j - 1]. Maps are blocked, f32 or bf16; arithmetic is f32. Weights lie as
 * (c / block, 3, 3, block), the padding zero. Results do not depend on the number of threads. */
#ifndef ENGINE_DEPTHWISE_H
#define ENGINE_DEPTHWISE_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/tensor.h"

struct depthwise {
    struct tensor src, dst; /* shape, layout and type; data is not looked at */
    int stride;             /* 1 or 2 */
    int threads;
};

/* The map of the result. */
struct tensor depthwise_result(const struct tensor *src, int stride);

/* Floats of scratch, for either direction. */
size_t depthwise_scratch(const struct depthwise *what);

/* A map that a batch norm stands before or behind: NULL coefficients: none does. */
struct depthwise_norm {
    const float *coefficients;
    bool relu;
};

struct depthwise_forward {
    const void *x;              /* [in] */
    struct depthwise_norm norm; /* of x */
    const float *weights;       /* [in] */
    void *y;                    /* [out] */
    float *sums;                /* [out] the next batch norm's scratch; NULL: not wanted */
    float *scratch;             /* [tmp] */
};
void depthwise_forward(const struct depthwise *what, const struct depthwise_forward *data);

struct depthwise_backward {
    const void *x;              /* [in] */
    struct depthwise_norm norm; /* of x */
    const void *g;              /* [in] the gradient of y, or of what the next batch norm makes of
                                   y (before its ReLU's cut) */
    const void *y;              /* [in] looked at with next.coefficients only */
    struct depthwise_norm next; /* of y */
    const float *weights;       /* [in] */
    void *diff_src;             /* [out] gradient of src, cut where its ReLU cut; may be g when
                                    stride is 1 */
    float *diff_weights;        /* [out] */
    float *sums;                /* [out] scratch of the batch norm of x; NULL: not wanted */
    float *scratch;             /* [tmp] */
};
void depthwise_backward(const struct depthwise *what, const struct depthwise_backward *data);

#endif
