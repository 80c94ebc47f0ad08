/* winograd_plan.h - how the work of winograd.h is cut into pieces, and who does them.
 *
 * A strip is one row of tiles of one image. Threads take chunks of strips through transformation,
 * products and transformation back while they lie in the cache. The kernels are compiled once for
 * each width of a block: winograd_avx512.c (16), winograd_narrow.c (8). */
#ifndef ENGINE_WINOGRAD_PLAN_H
#define ENGINE_WINOGRAD_PLAN_H

#include "nn/engine/winograd.h"

enum {
    WINOGRAD_TILE = 4, /* outputs of a tile, along a side */
    WINOGRAD_SPAN = 6, /* inputs */
    WINOGRAD_SPACE = WINOGRAD_SPAN * WINOGRAD_SPAN,
    WINOGRAD_ROWS = 4 /* tiles are padded to a multiple of this */
};

struct winograd_plan {
    int icb, ocb;            /* blocks of channels */
    int panel;               /* blocks of oc that a product makes together */
    int across, down;        /* tiles of an image */
    int strips;              /* in all */
    int chunk, room;         /* strips taken together; tiles that they have room for */
    size_t v_row, m_row;     /* floats from one of the 36 to the next: transformed source; products
                                (forward, one panel) or transformed gradient (backward, all) */
    size_t u_row;            /* the same of weights */
    size_t v, m, u, columns; /* floats of each; columns: one thread's half-transformed strip, and
                               a row of zeros */
    bool shared;             /* backward: threads share the work on one chunk, and one sum */
};
struct winograd_plan winograd_plan_forward(const struct winograd *what);
struct winograd_plan winograd_plan_backward(const struct winograd *what);

/* Weights lie as (36, panels of oc, ic, blocks of the panel, block): where the numbers of input
 * channel ic and block ocb begin. The last panel may be narrower. */
static inline int winograd_panel_width(const struct winograd_plan *plan, int ocb)
{
    int left = plan->ocb - ocb / plan->panel * plan->panel;
    return left < plan->panel ? left : plan->panel;
}
static inline size_t winograd_place(const struct winograd_plan *plan, int block, int ic, int ocb)
{
    size_t panel = (size_t)(ocb / plan->panel) * plan->panel * plan->icb * block;
    size_t row = (size_t)ic * winograd_panel_width(plan, ocb) + ocb % plan->panel;
    return (panel + row) * block;
}

/* Each is called by all threads of a parallel region; scratch is the whole team's. */
struct winograd_kernels {
    void (*weights)(const struct winograd *what, const struct winograd_plan *plan,
                    const float *weights, bool turned, float *u);
    void (*forward)(const struct winograd *what, const struct winograd_plan *plan,
                    const struct winograd_forward *data);
    void (*backward_weights)(const struct winograd *what, const struct winograd_plan *plan,
                             const struct winograd_backward *data);
};
extern const struct winograd_kernels winograd_kernels_avx512, winograd_kernels_narrow;

#endif
