/* gram_kernel.c - outer products over positions, in registers.
 *
 * Forward: a tile of G is 16 vectors of 16 numbers; each position adds A[p][i] * B[p][:] to row i: one
 * vector load and 16 multiply-adds with a broadcast operand. Backward: a strip of positions of dA
 * stays in registers while the rows of D pass by. Both keep the multiply-add units busy; a plain
 * matrix product per image would have to copy the blocked maps first. */
#include "distill/gram_kernel.h"

#include <string.h>

#include "base/cpu.h"
#include "nn/vector.h"

enum { STRIP = 8 }; /* positions of a map's gradient in registers at a time */

/* ---- maps in and out ---- */

static size_t image_numbers(const struct tensor *tap)
{
    return tensor_count(tap) / (size_t)tap->n;
}

static bool fits_as_is(const struct tensor *tap)
{
    return tap->type == PRECISION_F32 && tap->block == GRAM_TILE;
}

/* Where channel c of position p of an image lies in a map. */
static size_t place(const struct tensor *tap, int c, size_t p)
{
    size_t positions = (size_t)tap->h * (size_t)tap->w, block = (size_t)tap->block;
    return ((size_t)c / block * positions + p) * block + (size_t)c % block;
}

/* One image's map as f32 in blocks of 16. */
static const float *unpack(const struct gram_plan *plan, const struct tensor *tap, int t, int image, float *scratch)
{
    const size_t from = (size_t)image * image_numbers(tap), positions = (size_t)tap->h * (size_t)tap->w;
    if (fits_as_is(tap))
        return (const float *)tap->data + from;
    float *copy = scratch + plan->tap_copy[t];
    memset(copy, 0, (size_t)((tap->c + GRAM_TILE - 1) / GRAM_TILE) * positions * GRAM_TILE * sizeof(float));
    for (int c = 0; c < tap->c; c++)
        for (size_t p = 0; p < positions; p++) {
            size_t to = ((size_t)(c / GRAM_TILE) * positions + p) * GRAM_TILE + (size_t)(c % GRAM_TILE);
            copy[to] = vector_load(tap->type, tap->data, from + place(tap, c, p), 1)[0];
        }
    return copy;
}

/* The other way: into the map, whose padding becomes zero (or stays, when adding). */
static void pack(const struct tensor *diff, int image, const float *values, bool add)
{
    const size_t to = (size_t)image * image_numbers(diff), positions = (size_t)diff->h * (size_t)diff->w;
    for (int c = 0; c < tensor_channels(diff); c++)
        for (size_t p = 0; p < positions; p++) {
            size_t from = ((size_t)(c / GRAM_TILE) * positions + p) * GRAM_TILE + (size_t)(c % GRAM_TILE);
            vector x = {c < diff->c ? values[from] : 0};
            if (add)
                x += vector_load(diff->type, diff->data, to + place(diff, c, p), 1);
            vector_store(diff->type, diff->data, to + place(diff, c, p), 1, x);
        }
}

/* ---- pooling ---- */

KERNEL_INLINE void pool_window(const float *map, int width, int window, bool average, vector *value, vector *winner)
{
    vector best = vector_load(PRECISION_F32, map, 0, LANES), which = {0};
    for (int k = 1; k < window * window; k++) {
        size_t at = ((size_t)(k / window) * (size_t)width + (size_t)(k % window)) * LANES;
        vector x = vector_load(PRECISION_F32, map, at, LANES);
        if (average) {
            best += x;
            continue;
        }
        vector_mask larger = x > best; /* the first of equals wins */
        best = (vector)(((vector_mask)x & larger) | ((vector_mask)best & ~larger));
        vector_mask number = (vector_mask)vector_of((float)k);
        which = (vector)((number & larger) | ((vector_mask)which & ~larger));
    }
    *value = average ? best / (float)(window * window) : best;
    *winner = which;
}

KERNEL_INLINE void pool_view(const struct gram_view *view, const float *map, bool average, float *scratch)
{
    const int width = view->w * view->window, height = view->h * view->window;
    float *values = scratch + view->values, *winners = scratch + view->winners;
    for (int b = 0; b < view->blocks; b++)
        for (int y = 0; y < view->h; y++)
            for (int x = 0; x < view->w; x++) {
                size_t corner = ((size_t)b * (size_t)height + (size_t)(y * view->window)) * (size_t)width;
                size_t to = (((size_t)b * (size_t)view->h + (size_t)y) * (size_t)view->w + (size_t)x) * LANES;
                vector value, winner;
                pool_window(map + (corner + (size_t)(x * view->window)) * LANES, width, view->window, average,
                            &value, &winner);
                vector_store(PRECISION_F32, values, to, LANES, value);
                vector_store(PRECISION_F32, winners, to, LANES, winner);
            }
}

/* Add a pooled view's gradient to the whole map's. */
KERNEL_INLINE void unpool_view(const struct gram_view *view, const float *scratch, bool average, float *diff)
{
    const int width = view->w * view->window, height = view->h * view->window, window = view->window;
    const float *diffs = scratch + view->diffs, *winners = scratch + view->winners;
    for (int b = 0; b < view->blocks; b++)
        for (int y = 0; y < view->h; y++)
            for (int x = 0; x < view->w; x++) {
                size_t from = (((size_t)b * (size_t)view->h + (size_t)y) * (size_t)view->w + (size_t)x) * LANES;
                vector g = vector_load(PRECISION_F32, diffs, from, LANES);
                vector winner = vector_load(PRECISION_F32, winners, from, LANES);
                if (average)
                    g /= (float)(window * window);
                for (int k = 0; k < window * window; k++) {
                    size_t at = (((size_t)b * (size_t)height + (size_t)(y * window + k / window)) * (size_t)width +
                                 (size_t)(x * window + k % window)) *
                                LANES;
                    vector_mask here = winner == vector_of((float)k);
                    vector old = vector_load(PRECISION_F32, diff, at, LANES);
                    vector more = average ? g : (vector)((vector_mask)g & here);
                    vector_store(PRECISION_F32, diff, at, LANES, old + more);
                }
            }
}

/* ---- products ---- */

/* One tile: rows = sum over positions of a[p][i] * b[p][:]. */
KERNEL_INLINE void tile_product(const float *a, const float *b, size_t positions, float factor, float *tile)
{
    vector rows[GRAM_TILE];
#pragma GCC unroll 16
    for (int i = 0; i < GRAM_TILE; i++)
        rows[i] = (vector){0};
    for (size_t p = 0; p < positions; p++) {
        vector x = vector_load(PRECISION_F32, b, p * LANES, LANES);
#pragma GCC unroll 16
        for (int i = 0; i < GRAM_TILE; i++)
            rows[i] += a[p * LANES + (size_t)i] * x;
    }
#pragma GCC unroll 16
    for (int i = 0; i < GRAM_TILE; i++)
        vector_store(PRECISION_F32, tile, (size_t)i * LANES, LANES, rows[i] * factor);
}

/* `count` positions of one block of dst: dst[p][:] += sum over tiles t and rows j of
 * src[t][p][j] * tiles[t][j][:]. */
KERNEL_INLINE void strip_product(const float *src, size_t src_stride, const float *tiles, size_t tile_stride,
                                 int tile_count, float *dst, int count)
{
    vector sums[STRIP];
#pragma GCC unroll 8
    for (int p = 0; p < count; p++)
        sums[p] = vector_load(PRECISION_F32, dst, (size_t)p * LANES, LANES);
    for (int t = 0; t < tile_count; t++)
#pragma GCC unroll 4
        for (int j = 0; j < GRAM_TILE; j++) {
            vector row = vector_load(PRECISION_F32, tiles + (size_t)t * tile_stride, (size_t)j * LANES, LANES);
#pragma GCC unroll 8
            for (int p = 0; p < count; p++)
                sums[p] += src[(size_t)t * src_stride + (size_t)p * LANES + (size_t)j] * row;
        }
#pragma GCC unroll 8
    for (int p = 0; p < count; p++)
        vector_store(PRECISION_F32, dst, (size_t)p * LANES, LANES, sums[p]);
}

/* All positions of one block of dst. */
KERNEL_INLINE void block_product(const float *src, size_t positions, const float *tiles, size_t tile_stride,
                                 int tile_count, float *dst)
{
    const size_t stride = positions * LANES;
    size_t p = 0;
    for (; p + STRIP <= positions; p += STRIP)
        strip_product(src + p * LANES, stride, tiles, tile_stride, tile_count, dst + p * LANES, STRIP);
    for (; p < positions; p++)
        strip_product(src + p * LANES, stride, tiles, tile_stride, tile_count, dst + p * LANES, 1);
}

static void transpose_tile(const float *tile, float *transposed)
{
    for (int i = 0; i < GRAM_TILE; i++)
        for (int j = 0; j < GRAM_TILE; j++)
            transposed[j * GRAM_TILE + i] = tile[i * GRAM_TILE + j];
}

/* ---- one image ---- */

struct image_work {
    const struct gram_plan *plan;
    const struct tensor *taps, *diffs;
    int image;
    float *scratch, *matrices;
    const bool *add;
};

/* What a view's numbers are: pooled ones in scratch, else the map's. */
static const float *view_values(const struct gram_view *view, const float *const *maps, const float *scratch)
{
    return view->window > 1 ? scratch + view->values : maps[view->tap];
}

enum { MOST_TAPS = 64 };

static void find_maps(const struct image_work *w, const float **maps)
{
    for (int t = 0; t < w->plan->tap_count; t++)
        maps[t] = w->taps[t].data ? unpack(w->plan, &w->taps[t], t, w->image, w->scratch) : NULL;
}

/* The copies that gram_forward left in scratch. */
static void find_maps_again(const struct image_work *w, const float **maps)
{
    for (int t = 0; t < w->plan->tap_count; t++)
        maps[t] = !w->taps[t].data          ? NULL
                  : fits_as_is(&w->taps[t]) ? (const float *)w->taps[t].data + (size_t)w->image * image_numbers(&w->taps[t])
                                            : w->scratch + w->plan->tap_copy[t];
}

KERNEL_INLINE void forward_image(const struct image_work *w)
{
    const struct gram_plan *plan = w->plan;
    const float *maps[MOST_TAPS];
    find_maps(w, maps);
    for (int i = 0; i < plan->view_count; i++)
        if (plan->views[i].window > 1)
            pool_view(&plan->views[i], maps[plan->views[i].tap], plan->average, w->scratch);
    for (int i = 0; i < plan->pair_count; i++) {
        const struct gram_pair *pair = &plan->pairs[i];
        const struct gram_view *va = &plan->views[pair->a], *vb = &plan->views[pair->b];
        const float *a = view_values(va, maps, w->scratch), *b = view_values(vb, maps, w->scratch);
        const size_t positions = (size_t)va->h * (size_t)va->w;
        float *tile = w->matrices + pair->offset;
        for (int ta = 0; ta < pair->tiles_a; ta++)
            for (int tb = 0; tb < pair->tiles_b; tb++, tile += GRAM_TILE_NUMBERS)
                tile_product(a + (size_t)ta * positions * LANES, b + (size_t)tb * positions * LANES, positions,
                             1 / (float)positions, tile);
    }
}

/* Where a view's gradient is gathered: pooled ones in scratch, else the tap's whole gradient. */
static float *view_diff(const struct image_work *w, const struct gram_view *view)
{
    return w->scratch + (view->window > 1 ? view->diffs : w->plan->tap_diff[view->tap]);
}

/* dA from D transposed, dB from D. */
KERNEL_INLINE void backward_pair(const struct image_work *w, const struct gram_pair *pair, const float *const *maps)
{
    const struct gram_view *va = &w->plan->views[pair->a], *vb = &w->plan->views[pair->b];
    const float *a = view_values(va, maps, w->scratch), *b = view_values(vb, maps, w->scratch);
    const float *tiles = w->matrices + pair->offset;
    const size_t positions = (size_t)va->h * (size_t)va->w, block = positions * LANES;
    for (int ta = 0; w->diffs[va->tap].data && ta < pair->tiles_a; ta++)
        for (int tb = 0; tb < pair->tiles_b; tb++) {
            float transposed[GRAM_TILE_NUMBERS] __attribute__((aligned(64)));
            transpose_tile(tiles + (size_t)(ta * pair->tiles_b + tb) * GRAM_TILE_NUMBERS, transposed);
            block_product(b + (size_t)tb * block, positions, transposed, 0, 1,
                          view_diff(w, va) + (size_t)ta * block);
        }
    for (int tb = 0; w->diffs[vb->tap].data && tb < pair->tiles_b; tb++)
        block_product(a, positions, tiles + (size_t)tb * GRAM_TILE_NUMBERS,
                      (size_t)pair->tiles_b * GRAM_TILE_NUMBERS, pair->tiles_a, view_diff(w, vb) + (size_t)tb * block);
}

static void clear_diffs(const struct image_work *w)
{
    const struct gram_plan *plan = w->plan;
    for (int i = 0; i < plan->view_count; i++)
        memset(view_diff(w, &plan->views[i]), 0, plan->views[i].numbers * sizeof(float));
    for (int t = 0; t < plan->tap_count; t++)
        if (w->diffs[t].data) {
            const struct tensor *tap = &w->taps[t];
            size_t blocks = (size_t)(tap->c + GRAM_TILE - 1) / GRAM_TILE;
            memset(w->scratch + plan->tap_diff[t], 0,
                   blocks * (size_t)tap->h * (size_t)tap->w * GRAM_TILE * sizeof(float));
        }
}

/* The finished gradient of a tap into its map. */
KERNEL_INLINE void deliver(const struct image_work *w, int t)
{
    const struct tensor *diff = &w->diffs[t];
    const float *values = w->scratch + w->plan->tap_diff[t];
    if (!fits_as_is(diff)) {
        pack(diff, w->image, values, w->add[t]);
        return;
    }
    const size_t numbers = image_numbers(diff);
    float *to = (float *)diff->data + (size_t)w->image * numbers;
    for (size_t at = 0; at < numbers; at += LANES) {
        vector x = vector_load(PRECISION_F32, values, at, LANES);
        if (w->add[t])
            x += vector_load(PRECISION_F32, to, at, LANES);
        vector_store(PRECISION_F32, to, at, LANES, x);
    }
}

KERNEL_INLINE void backward_image(const struct image_work *w)
{
    const struct gram_plan *plan = w->plan;
    const float *maps[MOST_TAPS];
    find_maps_again(w, maps);
    clear_diffs(w);
    for (int i = 0; i < plan->pair_count; i++)
        backward_pair(w, &plan->pairs[i], maps);
    for (int i = 0; i < plan->view_count; i++) {
        const struct gram_view *view = &plan->views[i];
        if (view->window > 1 && w->diffs[view->tap].data)
            unpool_view(view, w->scratch, plan->average, w->scratch + plan->tap_diff[view->tap]);
    }
    for (int t = 0; t < plan->tap_count; t++)
        if (w->diffs[t].data)
            deliver(w, t);
}

/* ---- instruction-set levels ---- */

#define DEFINE_LEVEL(level, features)                                                                   \
    CPU_TARGET(features) static void forward_##level(const struct image_work *w) { forward_image(w); } \
    CPU_TARGET(features) static void backward_##level(const struct image_work *w) { backward_image(w); }
CPU_LEVELS(DEFINE_LEVEL)

typedef void image_kernel(const struct image_work *w);
static image_kernel *const forwards[] = {
#define FORWARD_ROW(level, features) forward_##level,
    CPU_LEVELS(FORWARD_ROW)
};
static image_kernel *const backwards[] = {
#define BACKWARD_ROW(level, features) backward_##level,
    CPU_LEVELS(BACKWARD_ROW)
};

void gram_forward(const struct gram_plan *plan, const struct tensor *taps, int image, float *scratch,
                  float *matrices)
{
    forwards[cpu_level()](
        &(struct image_work){.plan = plan, .taps = taps, .image = image, .scratch = scratch, .matrices = matrices});
}

void gram_backward(const struct gram_plan *plan, const struct tensor *taps, int image, float *scratch,
                   const float *matrices, const struct tensor *diffs, const bool *add)
{
    backwards[cpu_level()](&(struct image_work){plan, taps, diffs, image, scratch, (float *)matrices, add});
}
