/* elementwise.h - sums, ReLU and its gradient, dropout, and the option-A shortcut, on blocked maps.
 */
#ifndef ENGINE_ELEMENTWISE_H
#define ENGINE_ELEMENTWISE_H

#include "nn/engine/builder.h"

/* out = sum of sources, through ReLU when `relu`, cut to 0 where the gate is not positive. One pass
 * covers add, ReLU, both at once, and the gradient of ReLU (gate = its output). */
struct elementwise {
    struct tensor map; /* shape, layout and type of all operands */
    int source_count;  /* 1 .. VALUE_DIFFS */
    bool relu;
};
/* out may be one of the sources; gate NULL: none. */
void elementwise_run(const struct elementwise *what, const void *const *sources, const void *gate,
                     void *out);

/* The same as a step; gate may be NO_BUFFER. */
enum retort_status elementwise_step(struct builder *builder, const char *kind, const char *name,
                                    const struct elementwise *what, const int *sources, int gate,
                                    int out);

/* out = x * mask / (1 - rate); the mask is a function of (seed, *step, layer, place in memory), so
 * that the backward pass draws the forward pass's mask again. */
struct dropout {
    struct tensor map;
    double rate;
    uint64_t seed;
    uint32_t layer;
    const uint32_t *step;
};
void dropout_run(const struct dropout *what, const void *x, void *out);

/* Every stride-th position; src.c channels in the middle of dst.c, zeros before and after.
 * backward: from the gradient of dst to that of src. (He et al. 2016, option A.) */
struct shortcut {
    struct tensor src, dst;
    int stride;
};
void shortcut_forward(const struct shortcut *what, const void *src, void *dst);
void shortcut_backward(const struct shortcut *what, const void *diff_dst, void *diff_src);

/* Row y of one block of one image of dst (or of diff_src), w * block numbers, for who reads a
 * shortcut without carrying it out. */
void shortcut_row(const struct shortcut *what, int image, int block, int y, const void *src,
                  void *row);
void shortcut_diff_row(const struct shortcut *what, int image, int block, int y,
                       const void *diff_dst, void *row);

/* Whole maps as a step: from src to dst, or backward from diff_dst to diff_src. */
enum retort_status shortcut_step(struct builder *builder, const char *name,
                                 const struct shortcut *what, bool backward, int from, int to);

#endif
