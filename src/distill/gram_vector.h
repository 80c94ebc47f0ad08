/* gram_vector.h - the kernels of gram_kernel.h for one level of base/cpu.h.
 *
 * Included by one file per level, which defines LEVEL and FEATURES (what cpu.h calls it), WIDTH
 * (numbers in a vector: 4, 8 or 16) and ROWS (of a tile of one block). Everything is inlined into
 * the entry functions below, which have the level's instructions; so what is a constant in a call
 * is a constant inside. tests/gram_reference.c is the slow twin.
 *
 * One core with 258 GFLOP/s in AVX-512 gives 245-260 in product, spread and blend and 220 in dots;
 * with AVX2 120 of 129. */
#include "distill/gram_vector_maps.h"
#include "distill/gram_vector_products.h"
#if WIDTH == 16
#include "distill/gram_vector_halves.h"
#include "distill/gram_vector_tiles.h"
#endif

/* ---- the level ---- */

CPU_TARGET(FEATURES) static void enter_load(const struct tensor *map, int image, float *panel)
{
    if (is_native(map))
        load_native(map, image, panel);
    else
        load_map(map, image, panel);
}

CPU_TARGET(FEATURES)
static void enter_store(const float *panel, const struct tensor *map, int image, bool add)
{
    if (is_native(map))
        store_native(panel, map, image, add);
    else
        store_map(panel, map, image, add);
}

CPU_TARGET(FEATURES)
static void enter_pool(enum gram_pool kind, const struct gram_window *window, const float *src,
                       float *dst, int32_t *chosen)
{
    if (kind == GRAM_AVG)
        pool(GRAM_AVG, window, src, dst, NULL);
    else
        pool(GRAM_MAX, window, src, dst, chosen);
}

CPU_TARGET(FEATURES)
static void enter_unpool(enum gram_pool kind, const struct gram_window *window,
                         const float *diff_dst, const int32_t *chosen, float *diff_src, bool add)
{
    if (kind == GRAM_AVG)
        unpool(GRAM_AVG, window, diff_dst, NULL, diff_src, add);
    else
        unpool(GRAM_MAX, window, diff_dst, chosen, diff_src, add);
}

CPU_TARGET(FEATURES)
static void enter_product(const struct gram_panel *a, const struct gram_panel *b, float scale,
                          uint32_t *pairs, float *gram)
{
#if WIDTH == 16
    if (pairs && a->halves && b->halves && cpu_bf16()) {
        if (cpu_matrix_units())
            product_tiles(a, b, scale, pairs, gram);
        else
            product_halves(a, b, scale, pairs, gram);
        return;
    }
#endif
    product(a, b, scale, gram);
}

CPU_TARGET(FEATURES)
static double enter_difference(int a_blocks, int b_blocks, const float *target, float factor,
                               float *gram, float *transposed)
{
    return difference(a_blocks, b_blocks, target, factor, gram, transposed);
}

CPU_TARGET(FEATURES)
static void enter_spread(const struct gram_panel *src, const float *matrix, int blocks,
                         uint32_t *pairs, float *diff, bool add)
{
#if WIDTH == 16
    if (pairs && src->halves && cpu_matrix_units()) {
        spread_tiles(src, matrix, blocks, pairs, diff, add);
        return;
    }
#endif
    spread(src, matrix, blocks, diff, add);
}

CPU_TARGET(FEATURES)
static void enter_dots(const struct gram_panel *x, const struct gram_panel *y, float *dots)
{
    all_dots(x, y, dots);
}

CPU_TARGET(FEATURES)
static void enter_blend(const struct gram_panel *x, const float *of_x, const struct gram_panel *y,
                        const float *of_y, float *diff, bool add)
{
    blend(x, of_x, y, of_y, diff, add);
}

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
const struct gram_kernels JOIN(gram_kernels_, LEVEL) = {
    enter_load,       enter_store,  enter_pool, enter_unpool, enter_product,
    enter_difference, enter_spread, enter_dots, enter_blend,
};
