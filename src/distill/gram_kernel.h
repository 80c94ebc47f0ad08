/* gram_kernel.h - the arithmetic of Gram matrices on the maps of one image.
 *
 * A panel is one image's map as (blocks, positions, 16) float: what nChw16c already is, so such a
 * map is its own panel; other layouts and bf16 are brought into one by `load` and back by `store`.
 * Channels that fill the last block are zero in every panel and stay zero.
 *
 * A matrix with rows over panel a and columns over panel b is kept as (b blocks, a blocks * 16, 16)
 * float: 16 columns side by side. */
#ifndef DISTILL_GRAM_KERNEL_H
#define DISTILL_GRAM_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cpu.h"
#include "nn/tensor.h"

enum { GRAM_LANES = 16 };

enum gram_pool { GRAM_MAX, GRAM_AVG };

struct gram_panel {
    const float *data;
    int blocks, positions;
    bool halves; /* every number is a bf16 number: a bf16 map's, or its largest ones */
};

/* Pairs of positions of a block, filled up with zeros to what a matrix unit takes at a time. */
static inline int gram_pair_rows(int positions)
{
    return ((positions + 1) / 2 + GRAM_LANES - 1) / GRAM_LANES * GRAM_LANES;
}

/* Numbers of a packed panel: pairs of 16 channels each. */
static inline size_t gram_pairs_count(int blocks, int positions)
{
    return (size_t)blocks * (size_t)gram_pair_rows(positions) * GRAM_LANES;
}

/* What spread wants as scratch: its panel and its matrix, packed. */
static inline size_t gram_spread_count(int src_blocks, int positions, int blocks)
{
    const size_t strips = (size_t)((src_blocks + 1) / 2);
    const size_t rows = (size_t)((positions + GRAM_LANES - 1) / GRAM_LANES * GRAM_LANES);
    return strips * (rows + 2 * (size_t)blocks * GRAM_LANES) * GRAM_LANES;
}

/* Windows of kh x kw, as many as fill (h, w) results. */
struct gram_window {
    int blocks, h, w, kh, kw;
};

struct gram_kernels {
    /* panel [out] from one image of the map. */
    void (*load)(const struct tensor *map, int image, float *panel);
    /* One image of the map is overwritten, or added to, from panel. */
    void (*store)(const float *panel, const struct tensor *map, int image, bool add);

    /* dst [out] (blocks, h * w, 16) from src (blocks, h * kh * w * kw, 16);
     * chosen [out] as dst: the number of the largest in its window, the first one of equals; NULL:
     * not wanted; not used by averages. */
    void (*pool)(enum gram_pool kind, const struct gram_window *window, const float *src,
                 float *dst, int32_t *chosen);
    /* diff_src [out], or [add] when add is true, from diff_dst and chosen. */
    void (*unpool)(enum gram_pool kind, const struct gram_window *window, const float *diff_dst,
                   const int32_t *chosen, float *diff_src, bool add);

    /* gram [out]: gram[i][j] = scale * sum over positions p of a[p][i] * b[p][j].
     * pairs [tmp] gram_pairs_count of a and of b, or NULL: with them, panels of halves
     * are multiplied two numbers at a time where the processor can (products of bf16 numbers are
     * exact in f32, so nothing is lost). */
    void (*product)(const struct gram_panel *a, const struct gram_panel *b, float scale,
                    uint32_t *pairs, float *gram);
    /* gram: -> factor * (gram - target); transposed [out] is the same with rows over b.
     * Returns the sum of (gram - target)^2. */
    double (*difference)(int a_blocks, int b_blocks, const float *target, float factor, float *gram,
                         float *transposed);
    /* diff [out] or [add], a panel of `blocks`: diff[p][i] = sum over k of src[p][k] *
     * matrix[k][i], matrix with rows over src.
     * pairs [tmp] gram_spread_count, or NULL: with them, a panel of halves is multiplied on matrix
     * units where the processor has some. Then each number of the matrix is taken as the sum of two
     * bf16 numbers, which is right to 2^-17 of itself. */
    void (*spread)(const struct gram_panel *src, const float *matrix, int blocks, uint32_t *pairs,
                   float *diff, bool add);

    /* dots [out] (positions, positions): dots[p][q] = sum over channels c of x[p][c] * y[q][c]. */
    void (*dots)(const struct gram_panel *x, const struct gram_panel *y, float *dots);
    /* diff [out] or [add], a panel:
     * diff[p][c] = sum over positions q of of_x[p][q] * x[q][c] + of_y[p][q] * y[q][c]. */
    void (*blend)(const struct gram_panel *x, const float *of_x, const struct gram_panel *y,
                  const float *of_y, float *diff, bool add);
};

/* The kernels of cpu_level(). */
const struct gram_kernels *gram_kernels(void);

#endif
