/* reference.h - the engine's slow twin: a graph's forward pass in double, one number at a time.
 *
 *     struct reference twin;
 *     reference_create(&twin, &model, batch, true);
 *     reference_images(&twin, images);
 *     reference_forward(&twin);
 *     ... twin.values[node] ...
 *     reference_release(&twin);
 *
 * It shares no code with the engine; all maps are plain (batch, c, h, w). */
#ifndef TESTS_REFERENCE_H
#define TESTS_REFERENCE_H

#include <stdbool.h>

#include "nn/model.h"

struct reference {
    const struct graph *graph;
    int batch;
    bool train;          /* batch statistics and dropout; else running statistics */
    uint64_t seed;       /* of dropout */
    uint32_t step;       /* of dropout */
    int block;           /* channels innermost: dropout draws by place in memory */
    double **parameters; /* by graph.parameters; what a pass reads */
    double **after;      /* the same; running statistics after the last pass */
    double **values;     /* by node; values[0] are the images */

    /* Which way ReLUs and max pools went in the last pass: a fingerprint, and how far the closest
     * of them was from going the other way. Windows of nothing but zeros do not count: a ReLU
     * before them stops the gradient wherever it goes. */
    uint64_t branches;
    double margin;
};

/* Numbers are copied from the model; its graph must outlive the twin. */
void reference_create(struct reference *twin, const struct model *model, int batch, bool train);
void reference_release(struct reference *twin);
void reference_images(struct reference *twin, const float *images);
void reference_forward(struct reference *twin);

/* Numbers in a node's output, over the batch. */
size_t reference_count(const struct reference *twin, int node);

/* ---- batch norm alone, maps (n, c, hw) ---- */

struct reference_norm {
    int n, c, hw;
    double epsilon;
    const double *x, *scale, *shift;
    double *mean, *var; /* [out] of the batch; var biased */
};
/* y = xhat * scale + shift */
void reference_norm_forward(const struct reference_norm *norm, double *y);
/* From the gradient of y, with mean and var as the forward pass left them. */
void reference_norm_backward(const struct reference_norm *norm, const double *dy, double *dx,
                             double *diff_scale, double *diff_shift);

#endif
