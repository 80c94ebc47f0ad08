/* gram_kernel.h - Gram matrices of feature maps, forward and backward, one image at a time.
 *
 * A network's taps are described once by a gram_plan: which pairs are formed, and which views of which
 * taps they need. A view is a tap at a size at which some pair wants it: the map itself, or pooled by
 * windows of side `window`. For one image and one pair (a, b) over P positions
 *
 *     G[i][j] = 1/P sum_p A[p][i] B[p][j]                      (Yim et al. 2017, eq. 1)
 *     dA[p][i] = 1/P sum_j D[i][j] B[p][j],  dB[p][j] = 1/P sum_i D[i][j] A[p][i],   D = dL/dG
 *
 * All pairs of an image are worked on together, while its maps are in the cache; a map is read once and
 * its gradient written once. Matrices are stored in tiles: [a / 16][b / 16][16][16], padded with zeros.
 * Any layout and precision of maps goes; f32 in blocks of 16 channels goes without copying. */
#ifndef DISTILL_GRAM_KERNEL_H
#define DISTILL_GRAM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"
#include "nn/tensor.h"

enum { GRAM_TILE = 16, GRAM_TILE_NUMBERS = GRAM_TILE * GRAM_TILE };

struct gram_view {
    int tap, window;        /* window 1: the map itself */
    int h, w, blocks;       /* blocks of 16 channels */
    size_t numbers;         /* blocks * h * w * 16 */
    size_t values, winners, diffs; /* places in a thread's scratch, in floats; winners: max pooling */
};

struct gram_pair {
    int a, b;               /* views, a being the earlier tap */
    int m, n;               /* channels */
    int tiles_a, tiles_b;
    size_t offset;          /* of its tiles among one image's matrices, in floats */
};

struct gram_plan {
    const struct tensor *taps; /* shapes and layout; borrowed */
    int tap_count, view_count, pair_count;
    struct gram_view *views;
    struct gram_pair *pairs;
    bool average;              /* pooling; else max */
    size_t matrix_numbers;     /* one image's matrices, all pairs, tiles and padding included */
    size_t scratch_numbers;    /* floats of scratch of one thread */
    size_t *tap_copy;          /* by tap: place of an unpacked copy (not f32 in blocks of 16), else unused */
    size_t *tap_diff;          /* by tap: place of its gradient before it is packed */
};

/* pairs: (first tap, second tap), first < second. Everything is made in arena. Sizes that do not divide
 * are RETORT_INVALID and name both taps. */
enum retort_status gram_plan_make(const struct tensor *taps, const char *const *names, int tap_count,
                                  const int (*pairs)[2], int pair_count, bool average, struct arena *arena,
                                  struct gram_plan *plan);

/* matrices [out] plan->matrix_numbers floats of this image; scratch [tmp]. */
void gram_forward(const struct gram_plan *plan, const struct tensor *taps, int image, float *scratch,
                  float *matrices);

/* After gram_forward with the same scratch: from D (matrices [in], the layout of gram_forward, the
 * factor 1/P not yet taken) to the taps' gradients. diffs[t].data NULL: that tap's gradient is not wanted.
 * add[t]: add to what is there, else overwrite. */
void gram_backward(const struct gram_plan *plan, const struct tensor *taps, int image, float *scratch,
                   const float *matrices, const struct tensor *diffs, const bool *add);

#endif
