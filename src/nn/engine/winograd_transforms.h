/* winograd_transforms.h - to the space of 36 numbers and back, WIDTH channels at a time.
 *
 * With points a = 2/3 and b = 3/2, a b = 1 and s = a^2 + b^2, the rows of the matrices of equation
 * 8 (by the Toom-Cook construction) are
 *
 *   B^T   (1, 0, -s, 0, 1, 0)   (0, 1, 0, -s, 0, 1)                for 0 and infinity
 *         (0, -+p q^2, -q^2, +-p, 1, 0)                             for +-p, q being the other
 *   G     (1, 0, 0)   (0, 0, 1)   (1, +-p, p^2) / (2 p^2 (p^2 - q^2))
 *   A^T   columns (1, 0, 0, 0)   (0, 0, 0, 1)   (1, +-p, p^2, +-p^3)
 *
 * Points of opposite sign share the even and the odd half of each sum. Included by
 * winograd_passes.h only. */
#include <stdint.h>
#include <string.h>

#include "nn/bf16.h"

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t vec_bits __attribute__((vector_size(WIDTH * 4)));
typedef int32_t vec_mask __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t vec_half __attribute__((vector_size(WIDTH * 2)));

enum { TILE = WINOGRAD_TILE, SPAN = WINOGRAD_SPAN, SPACE = WINOGRAD_SPACE, KERNEL = 3 };

static const float A = 2.0f / 3, B = 3.0f / 2;
#define A2 (A * A)
#define B2 (B * B)
#define A3 (A * A * A)
#define B3 (B * B * B)
#define NA (1 / (2 * A2 * (A2 - B2)))
#define NB (1 / (2 * B2 * (B2 - A2)))

/* ---- numbers in memory ---- */

INLINE vec vec_get(const float *from)
{
    vec x;
    memcpy(&x, from, sizeof(x));
    return x;
}

INLINE void vec_put(float *to, vec x)
{
    memcpy(to, &x, sizeof(x));
}

INLINE vec vec_all(float x)
{
    return x - (vec){0};
}

/* To nearest, ties to even. */
INLINE vec_half vec_narrow(vec x)
{
#if WIDTH == 16
    return bf16_narrow(x);
#else
    vec_bits bits = (vec_bits)x;
    vec_bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, nan = bits >> 16 | 0x40;
    vec_mask number = x == x;
    return __builtin_convertvector(
        (vec_bits)(((vec_mask)rounded & number) | ((vec_mask)nan & ~number)), vec_half);
#endif
}

/* Place `at` of a map. */
INLINE vec map_get(enum precision type, const void *map, size_t at)
{
    if (type == PRECISION_F32)
        return vec_get((const float *)map + at);
    vec_half half;
    memcpy(&half, (const uint16_t *)map + at, sizeof(half));
#if WIDTH == 16
    return bf16_widen(half);
#else
    return (vec)(__builtin_convertvector(half, vec_bits) << 16);
#endif
}

INLINE void map_put(enum precision type, void *map, size_t at, vec x)
{
    if (type == PRECISION_F32) {
        vec_put((float *)map + at, x);
        return;
    }
    vec_half half = vec_narrow(x);
    memcpy((uint16_t *)map + at, &half, sizeof(half));
}

/* ---- one dimension ---- */

INLINE void source_to_space(const vec *d, vec *t) /* B^T, 6 -> 6 */
{
    vec even_a = d[4] - B2 * d[2], odd_a = d[3] - B2 * d[1];
    vec even_b = d[4] - A2 * d[2], odd_b = d[3] - A2 * d[1];
    t[0] = d[0] + d[4] - (A2 + B2) * d[2];
    t[1] = even_a + A * odd_a;
    t[2] = even_a - A * odd_a;
    t[3] = even_b + B * odd_b;
    t[4] = even_b - B * odd_b;
    t[5] = d[1] + d[5] - (A2 + B2) * d[3];
}

INLINE void output_from_space(const vec *t, vec *y) /* A^T, 6 -> 4 */
{
    vec even_a = t[1] + t[2], odd_a = t[1] - t[2];
    vec even_b = t[3] + t[4], odd_b = t[3] - t[4];
    y[0] = t[0] + even_a + even_b;
    y[1] = A * odd_a + B * odd_b;
    y[2] = A2 * even_a + B2 * even_b;
    y[3] = t[5] + A3 * odd_a + B3 * odd_b;
}

INLINE void gradient_to_space(const vec *y, vec *t) /* A, 4 -> 6 */
{
    vec even_a = y[0] + A2 * y[2], odd_a = A * y[1] + A3 * y[3];
    vec even_b = y[0] + B2 * y[2], odd_b = B * y[1] + B3 * y[3];
    t[0] = y[0];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = y[3];
}

INLINE void weights_to_space(const vec *g, vec *t) /* G, 3 -> 6 */
{
    vec even_a = NA * (g[0] + A2 * g[2]), odd_a = NA * A * g[1];
    vec even_b = NB * (g[0] + B2 * g[2]), odd_b = NB * B * g[1];
    t[0] = g[0];
    t[1] = even_a + odd_a;
    t[2] = even_a - odd_a;
    t[3] = even_b + odd_b;
    t[4] = even_b - odd_b;
    t[5] = g[2];
}

INLINE void weights_from_space(const vec *t, vec *g) /* G^T, 6 -> 3 */
{
    vec even_a = NA * (t[1] + t[2]), odd_a = NA * (t[1] - t[2]);
    vec even_b = NB * (t[3] + t[4]), odd_b = NB * (t[3] - t[4]);
    g[0] = t[0] + even_a + even_b;
    g[1] = A * odd_a + B * odd_b;
    g[2] = t[5] + A2 * even_a + B2 * even_b;
}

/* ---- strips: one row of tiles of one image and one block of channels ---- */

/* A map's block of channels, h x w x WIDTH. */
struct strip {
    const struct winograd *what;
    const struct winograd_plan *plan;
    int tile_row;
    float *columns;    /* [tmp] */
    const float *zero; /* a row of zeros */
};

/* Rows outside the map are rows of zeros. */
INLINE const void *strip_row(enum precision type, const struct strip *s, const void *map, int y)
{
    const size_t size = type == PRECISION_F32 ? sizeof(float) : sizeof(uint16_t);
    if (y < 0 || y >= s->what->h)
        return s->zero;
    return (const char *)map + (size_t)y * s->what->w * WIDTH * size;
}

/* B^T d B of every tile to v. Columns first: neighbouring tiles share two of six. */
INLINE void strip_source(enum precision type, const struct strip *s, const void *map, float *v)
{
    const int w = s->what->w, across = s->plan->across;
    const size_t v_row = s->plan->v_row; /* stores might change what is behind a pointer */
    const void *row[SPAN];
    vec d[SPAN], t[SPAN];
    for (int i = 0; i < SPAN; i++)
        row[i] = strip_row(type, s, map, s->tile_row * TILE - 1 + i);
    float *to = s->columns;
    memset(to, 0, SPAN * sizeof(vec));
    to += SPAN * WIDTH;
    for (int x = 0; x < w; x++, to += SPAN * WIDTH) {
#pragma GCC unroll 6
        for (int i = 0; i < SPAN; i++)
            d[i] = map_get(type, row[i], (size_t)x * WIDTH);
        source_to_space(d, t);
#pragma GCC unroll 6
        for (int i = 0; i < SPAN; i++)
            vec_put(to + i * WIDTH, t[i]);
    }
    for (int x = w; x <= across * TILE; x++, to += SPAN * WIDTH)
        for (int i = 0; i < SPAN; i++)
            vec_put(to + i * WIDTH, (vec){0});
    const float *from = s->columns;
    for (int tile = 0; tile < across; tile++, v += WIDTH, from += TILE * SPAN * WIDTH) {
        float *place = v;
        for (int k = 0; k < SPAN; k++) {
#pragma GCC unroll 6
            for (int i = 0; i < SPAN; i++)
                d[i] = vec_get(from + (i * SPAN + k) * WIDTH);
            source_to_space(d, t);
#pragma GCC unroll 6
            for (int i = 0; i < SPAN; i++, place += v_row)
                vec_put(place, t[i]);
        }
    }
}

/* A dY A^T of every tile to m; adds all of dY to sum, WIDTH numbers. */
INLINE void strip_gradient(enum precision type, const struct strip *s, const void *map, float *m,
                           float *sum)
{
    const int w = s->what->w, across = s->plan->across;
    const size_t m_row = s->plan->m_row;
    const void *row[TILE];
    vec all = vec_get(sum);
    for (int i = 0; i < TILE; i++)
        row[i] = strip_row(type, s, map, s->tile_row * TILE + i);
    for (int tile = 0; tile < across; tile++, m += WIDTH) {
        vec y[TILE], columns[TILE][SPAN], t[SPAN];
        float *place = m;
#pragma GCC unroll 4
        for (int j = 0; j < TILE; j++) {
            const int x = tile * TILE + j;
#pragma GCC unroll 4
            for (int i = 0; i < TILE; i++)
                y[i] = x < w ? map_get(type, row[i], (size_t)x * WIDTH) : (vec){0};
            all += (y[0] + y[1]) + (y[2] + y[3]);
            gradient_to_space(y, columns[j]);
        }
#pragma GCC unroll 6
        for (int k = 0; k < SPAN; k++) {
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++)
                y[j] = columns[j][k];
            gradient_to_space(y, t);
#pragma GCC unroll 6
            for (int i = 0; i < SPAN; i++, place += m_row)
                vec_put(place, t[i]);
        }
    }
    vec_put(sum, all);
}

/* The tail of a forward pass, for one block of channels. */
struct strip_tail {
    vec bias;
    const void *residual; /* NULL: none */
    bool relu;
    void *dst; /* both from the strip's first row on */
};

/* A tile through the tail, as far as it lies on the map. `whole` is a constant. */
INLINE void tile_output(enum precision type, const bool whole, const struct strip *s,
                        const float *m, size_t m_row, int tile, const struct strip_tail *tail)
{
    const int first = s->tile_row * TILE, w = s->what->w;
    const int rows = whole ? TILE : s->what->h - first, columns = whole ? TILE : w - tile * TILE;
    vec half[SPAN][TILE], t[SPAN], y[TILE];
#pragma GCC unroll 6
    for (int j = 0; j < SPAN; j++) {
#pragma GCC unroll 6
        for (int i = 0; i < SPAN; i++)
            t[i] = vec_get(m + (size_t)(i * SPAN + j) * m_row);
        output_from_space(t, half[j]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < TILE; i++) {
        if (i >= rows)
            break;
#pragma GCC unroll 6
        for (int j = 0; j < SPAN; j++)
            t[j] = half[j][i];
        output_from_space(t, y);
        const size_t at = ((size_t)i * w + tile * TILE) * WIDTH;
#pragma GCC unroll 4
        for (int j = 0; j < TILE; j++) {
            if (j >= columns)
                break;
            vec sum = y[j] + tail->bias;
            if (tail->residual)
                sum += map_get(type, tail->residual, at + j * WIDTH);
            if (tail->relu)
                sum = (vec)((vec_mask)sum & (sum > 0));
            map_put(type, tail->dst, at + j * WIDTH, sum);
        }
    }
}

/* A^T M A of every tile, through the tail, to the map. */
INLINE void strip_output(enum precision type, const struct strip *s, const float *m,
                         const struct strip_tail *tail)
{
    const size_t m_row = s->plan->m_row;
    const int across = s->plan->across;
    const bool whole_rows = (s->tile_row + 1) * TILE <= s->what->h;
    for (int tile = 0; tile < across; tile++, m += WIDTH)
        if (whole_rows && (tile + 1) * TILE <= s->what->w)
            tile_output(type, true, s, m, m_row, tile, tail);
        else
            tile_output(type, false, s, m, m_row, tile, tail);
}
