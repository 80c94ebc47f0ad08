/* gram_vector.h - the kernels of gram_kernel.h for one level of base/cpu.h.
 *
 * Included by one file per level, which defines LEVEL and FEATURES (what cpu.h calls it), WIDTH
 * (numbers in a vector: 4, 8 or 16) and ROWS (of a tile of one block). Everything is inlined into
 * the entry functions at the end, which have the level's instructions; so what is a constant in a
 * call is a constant inside.
 *
 * Forward (product) and backward (spread) are the same small step: a tile of rows x blocks of 16
 * channels is kept in registers while one operand is read as vectors and the other as single
 * numbers, which the processor spreads over a vector as it reads them. Forward the loop runs over
 * positions, backward over channels. Tiles hold at least as many multiply-adds as the processor has
 * under way, 8, and leave registers for the operands. gram_reference.c is the slow twin. */
#include "distill/gram_kernel.h"

#define KERNEL_INLINE static inline __attribute__((always_inline))

enum { LANES = GRAM_LANES, BLOCK = LANES * LANES };

enum { PARTS = LANES / WIDTH }; /* vectors in a block's 16 channels */

typedef float vector __attribute__((vector_size(WIDTH * 4)));
typedef int32_t integers __attribute__((vector_size(WIDTH * 4)));

KERNEL_INLINE vector load(const float *from)
{
    vector x;
    memcpy(&x, from, sizeof(x));
    return x;
}

KERNEL_INLINE void store(float *to, vector x)
{
    memcpy(to, &x, sizeof(x));
}

/* yes where mask is set, else no. */
KERNEL_INLINE integers pick(integers mask, integers yes, integers no)
{
    return (yes & mask) | (no & ~mask);
}

/* ---- layouts ---- */

/* Numbers are converted CHUNK at a time: no more than the smaller block, no more than a vector. */
enum { CHUNK = WIDTH < 8 ? WIDTH : 8 };

typedef float chunk __attribute__((vector_size(CHUNK * 4)));
typedef uint32_t chunk_bits __attribute__((vector_size(CHUNK * 4)));
typedef uint16_t chunk_half __attribute__((vector_size(CHUNK * 2)));

/* bf16 to nearest, ties to even; NaN stays NaN. */
KERNEL_INLINE chunk_half narrow(chunk x)
{
    chunk_bits bits = (chunk_bits)x;
    chunk_bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    chunk_bits nan = bits >> 16 | 0x40;
    chunk_bits number = (chunk_bits)(x == x);
    return __builtin_convertvector((rounded & number) | (nan & ~number), chunk_half);
}

KERNEL_INLINE chunk load_chunk(enum precision type, const void *data, size_t at)
{
    if (type == PRECISION_BF16) {
        chunk_half half;
        memcpy(&half, (const uint16_t *)data + at, sizeof(half));
        return (chunk)(__builtin_convertvector(half, chunk_bits) << 16);
    }
    chunk x;
    memcpy(&x, (const float *)data + at, sizeof(x));
    return x;
}

KERNEL_INLINE void store_chunk(enum precision type, void *data, size_t at, chunk x)
{
    if (type == PRECISION_BF16) {
        chunk_half half = narrow(x);
        memcpy((uint16_t *)data + at, &half, sizeof(half));
    } else {
        memcpy((float *)data + at, &x, sizeof(x));
    }
}

KERNEL_INLINE float load_single(enum precision type, const void *data, size_t at)
{
    return type == PRECISION_BF16 ? bf16_to_float(((const uint16_t *)data)[at])
                                  : ((const float *)data)[at];
}

KERNEL_INLINE void store_single(enum precision type, void *data, size_t at, float x)
{
    if (type == PRECISION_BF16)
        ((uint16_t *)data)[at] = bf16_from_float(x);
    else
        ((float *)data)[at] = x;
}

/* The panel's place of channel c, position 0. */
#define PANEL_AT(panel, c, positions)                                                              \
    ((panel) + (size_t)((c) / LANES) * (positions)*LANES + (c) % LANES)

KERNEL_INLINE void load_layout(const struct tensor *map, int image, float *panel, const int block,
                               const enum precision type)
{
    const size_t positions = (size_t)map->h * (size_t)map->w;
    const int channels = tensor_channels(map);
    size_t at = (size_t)image * (size_t)channels * positions;
    for (int c = 0; c < channels; c += block) {
        float *to = PANEL_AT(panel, c, positions);
        for (size_t p = 0; p < positions; p++, to += LANES, at += (size_t)block) {
            if (block == 1)
                to[0] = load_single(type, map->data, at);
            for (int l = 0; l + CHUNK <= block; l += CHUNK) {
                chunk x = load_chunk(type, map->data, at + (size_t)l);
                memcpy(to + l, &x, sizeof(x));
            }
        }
    }
    for (int c = channels; c % LANES; c++) {
        float *to = PANEL_AT(panel, c, positions);
        for (size_t p = 0; p < positions; p++)
            to[p * LANES] = 0;
    }
}

KERNEL_INLINE void store_layout(const float *panel, const struct tensor *map, int image,
                                const bool add, const int block, const enum precision type)
{
    const size_t positions = (size_t)map->h * (size_t)map->w;
    const int channels = tensor_channels(map);
    size_t at = (size_t)image * (size_t)channels * positions;
    for (int c = 0; c < channels; c += block) {
        const float *from = PANEL_AT(panel, c, positions);
        for (size_t p = 0; p < positions; p++, from += LANES, at += (size_t)block) {
            if (block == 1)
                store_single(type, map->data, at,
                             add ? from[0] + load_single(type, map->data, at) : from[0]);
            for (int l = 0; l + CHUNK <= block; l += CHUNK) {
                chunk x;
                memcpy(&x, from + l, sizeof(x));
                if (add)
                    x += load_chunk(type, map->data, at + (size_t)l);
                store_chunk(type, map->data, at + (size_t)l, x);
            }
        }
    }
}

/* Makes a call with `block` and `type` constant for each layout there is. */
#define FOR_LAYOUT(map, function, ...)                                                             \
    do {                                                                                           \
        const bool half = (map)->type == PRECISION_BF16;                                           \
        if ((map)->block == 16 && half)                                                            \
            function(__VA_ARGS__, 16, PRECISION_BF16);                                             \
        else if ((map)->block == 16)                                                               \
            function(__VA_ARGS__, 16, PRECISION_F32);                                              \
        else if ((map)->block == 8 && half)                                                        \
            function(__VA_ARGS__, 8, PRECISION_BF16);                                              \
        else if ((map)->block == 8)                                                                \
            function(__VA_ARGS__, 8, PRECISION_F32);                                               \
        else if (half)                                                                             \
            function(__VA_ARGS__, 1, PRECISION_BF16);                                              \
        else                                                                                       \
            function(__VA_ARGS__, 1, PRECISION_F32);                                               \
    } while (0)

KERNEL_INLINE void load_map(const struct tensor *map, int image, float *panel)
{
    FOR_LAYOUT(map, load_layout, map, image, panel);
}

KERNEL_INLINE void store_map(const float *panel, const struct tensor *map, int image, bool add)
{
    if (add)
        FOR_LAYOUT(map, store_layout, panel, map, image, true);
    else
        FOR_LAYOUT(map, store_layout, panel, map, image, false);
}

#undef PANEL_AT

/* ---- pooling ---- */

/* One vector of one window: `from` is its first number, lines of the map are `line` apart. */
KERNEL_INLINE void max_window(const float *from, size_t line, int kh, int kw, float *dst,
                              int32_t *chosen)
{
    vector largest = load(from);
    integers place = {0};
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++) {
            vector here = load(from + (size_t)y * line + (size_t)x * LANES);
            integers larger = here > largest;
            largest = (vector)pick(larger, (integers)here, (integers)largest);
            place = pick(larger, y * kw + x - (integers){0}, place);
        }
    store(dst, largest);
    if (chosen)
        memcpy(chosen, &place, sizeof(place));
}

KERNEL_INLINE void unmax_window(const float *diff_dst, const int32_t *chosen, size_t line, int kh,
                                int kw, float *to, bool add)
{
    integers diff = (integers)load(diff_dst), place;
    memcpy(&place, chosen, sizeof(place));
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++) {
            float *at = to + (size_t)y * line + (size_t)x * LANES;
            vector here = (vector)(diff & (place == y * kw + x));
            store(at, add ? here + load(at) : here);
        }
}

KERNEL_INLINE void avg_window(const float *from, size_t line, int kh, int kw, float *dst)
{
    vector sum = {0};
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++)
            sum += load(from + (size_t)y * line + (size_t)x * LANES);
    store(dst, sum * (1.0f / (float)(kh * kw)));
}

KERNEL_INLINE void unavg_window(const float *diff_dst, size_t line, int kh, int kw, float *to,
                                bool add)
{
    vector diff = load(diff_dst) * (1.0f / (float)(kh * kw));
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++) {
            float *at = to + (size_t)y * line + (size_t)x * LANES;
            store(at, add ? diff + load(at) : diff);
        }
}

/* chosen NULL: not wanted. */
KERNEL_INLINE void pool_windows(enum gram_pool kind, const struct gram_window *window,
                                const float *src, float *dst, int32_t *chosen, int kh, int kw)
{
    const size_t line = (size_t)kw * (size_t)window->w * LANES;
    for (int row = 0; row < window->blocks * window->h; row++, src += (size_t)(kh - 1) * line)
        for (int column = 0; column < window->w; column++, src += (size_t)(kw - 1) * LANES)
            for (int part = 0; part < PARTS; part++, src += WIDTH, dst += WIDTH) {
                if (kind == GRAM_AVG)
                    avg_window(src, line, kh, kw, dst);
                else
                    max_window(src, line, kh, kw, dst, chosen);
                if (chosen)
                    chosen += WIDTH;
            }
}

KERNEL_INLINE void unpool_windows(enum gram_pool kind, const struct gram_window *window,
                                  const float *diff_dst, const int32_t *chosen, float *to, bool add,
                                  int kh, int kw)
{
    const size_t line = (size_t)kw * (size_t)window->w * LANES;
    for (int row = 0; row < window->blocks * window->h; row++, to += (size_t)(kh - 1) * line)
        for (int column = 0; column < window->w; column++, to += (size_t)(kw - 1) * LANES)
            for (int part = 0; part < PARTS; part++, to += WIDTH, diff_dst += WIDTH)
                if (kind == GRAM_AVG) {
                    unavg_window(diff_dst, line, kh, kw, to, add);
                } else {
                    unmax_window(diff_dst, chosen, line, kh, kw, to, add);
                    chosen += WIDTH;
                }
}

/* Windows of 2 x 2 are nearly all there are: their loops are unrolled. */
KERNEL_INLINE void pool(enum gram_pool kind, const struct gram_window *window, const float *src,
                        float *dst, int32_t *chosen)
{
    const bool two = window->kh == 2 && window->kw == 2;
    if (two && chosen)
        pool_windows(kind, window, src, dst, chosen, 2, 2);
    else if (two)
        pool_windows(kind, window, src, dst, NULL, 2, 2);
    else
        pool_windows(kind, window, src, dst, chosen, window->kh, window->kw);
}

KERNEL_INLINE void unpool(enum gram_pool kind, const struct gram_window *window,
                          const float *diff_dst, const int32_t *chosen, float *diff_src, bool add)
{
    const bool two = window->kh == 2 && window->kw == 2;
    if (two && add)
        unpool_windows(kind, window, diff_dst, chosen, diff_src, true, 2, 2);
    else if (two)
        unpool_windows(kind, window, diff_dst, chosen, diff_src, false, 2, 2);
    else
        unpool_windows(kind, window, diff_dst, chosen, diff_src, add, window->kh, window->kw);
}

/* ---- tiles ---- */

struct operands {
    const float *singles, *vectors;
    size_t row_step, step, block_step;
};

/* sum[r][block][part] += singles[r * row_step + k * step]
 *                        * vectors[block * block_step + k * 16 + part * WIDTH], k < count.
 * rows and blocks are constants, so that sum lives in registers. */
KERNEL_INLINE void multiply(const int rows, const int blocks, vector *sum,
                            const struct operands *from, int count)
{
    const float *singles = from->singles, *vectors = from->vectors;
    for (int k = 0; k < count; k++) {
        vector v[2 * PARTS];
#pragma GCC unroll 8
        for (int c = 0; c < blocks * PARTS; c++)
            v[c] = load(vectors + (size_t)(c / PARTS) * from->block_step +
                        (size_t)(c % PARTS) * WIDTH);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int c = 0; c < blocks * PARTS; c++)
                sum[r * blocks * PARTS + c] += v[c] * singles[(size_t)r * from->row_step];
        singles += from->step;
        vectors += LANES;
    }
}

/* Where vector number c of row r of a tile lies. */
#define AT(r, c, block_step)                                                                       \
    ((size_t)((c) / PARTS) * (block_step) + (size_t)(r)*LANES + (size_t)((c) % PARTS) * WIDTH)

KERNEL_INLINE void product_tile(const int rows, const int blocks, const struct gram_panel *a,
                                const struct gram_panel *b, float scale, float *gram)
{
    const size_t column = (size_t)a->blocks * BLOCK;
    const struct operands from = {a->data, b->data, 1, LANES, (size_t)b->positions * LANES};
    vector sum[16] = {0};
    multiply(rows, blocks, sum, &from, a->positions);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int c = 0; c < blocks * PARTS; c++)
            store(gram + AT(r, c, column), sum[r * blocks * PARTS + c] * scale);
}

/* The columns of `blocks` blocks of b, all rows. */
KERNEL_INLINE void product_columns(const int rows, const int blocks, const struct gram_panel *a,
                                   const struct gram_panel *b, float scale, float *gram)
{
    for (int i = 0; i < a->blocks; i++)
        for (int r = 0; r < LANES; r += rows) {
            struct gram_panel at = *a;
            at.data += (size_t)i * (size_t)a->positions * LANES + (size_t)r;
            product_tile(rows, blocks, &at, b, scale, gram + (size_t)i * BLOCK + (size_t)r * LANES);
        }
}

KERNEL_INLINE void product(const struct gram_panel *a, const struct gram_panel *b, float scale,
                           float *gram)
{
    const size_t column = (size_t)a->blocks * BLOCK;
    struct gram_panel at = *b;
    int j = 0;
    for (; ROWS == 16 && j + 2 <= b->blocks; j += 2) {
        product_columns(ROWS / 2, 2, a, &at, scale, gram + (size_t)j * column);
        at.data += 2 * (size_t)b->positions * LANES;
    }
    for (; j < b->blocks; j++) {
        product_columns(ROWS, 1, a, &at, scale, gram + (size_t)j * column);
        at.data += (size_t)b->positions * LANES;
    }
}

/* `rows` positions of `blocks` blocks of diff. */
KERNEL_INLINE void spread_tile(const int rows, const int blocks, const struct gram_panel *src,
                               const float *matrix, float *diff, bool add)
{
    const size_t panel_block = (size_t)src->positions * LANES;
    const size_t column = (size_t)src->blocks * BLOCK;
    vector sum[16] = {0};
    if (add)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int c = 0; c < blocks * PARTS; c++)
                sum[r * blocks * PARTS + c] = load(diff + AT(r, c, panel_block));
    for (int k = 0; k < src->blocks; k++) {
        const struct operands from = {src->data + (size_t)k * panel_block,
                                      matrix + (size_t)k * BLOCK, LANES, 1, column};
        multiply(rows, blocks, sum, &from, LANES);
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int c = 0; c < blocks * PARTS; c++)
            store(diff + AT(r, c, panel_block), sum[r * blocks * PARTS + c]);
}

KERNEL_INLINE void spread_columns(const int rows, const int blocks, const struct gram_panel *src,
                                  const float *matrix, float *diff, bool add)
{
    struct gram_panel at = *src;
    int p = 0;
    for (; p + rows <= src->positions; p += rows) {
        spread_tile(rows, blocks, &at, matrix, diff + (size_t)p * LANES, add);
        at.data += (size_t)rows * LANES;
    }
    for (; p < src->positions; p++) {
        spread_tile(1, blocks, &at, matrix, diff + (size_t)p * LANES, add);
        at.data += LANES;
    }
}

KERNEL_INLINE void spread(const struct gram_panel *src, const float *matrix, int blocks,
                          float *diff, bool add)
{
    const size_t panel_block = (size_t)src->positions * LANES;
    const size_t column = (size_t)src->blocks * BLOCK;
    int i = 0;
    for (; ROWS == 16 && i + 2 <= blocks; i += 2)
        spread_columns(ROWS / 2, 2, src, matrix + (size_t)i * column,
                       diff + (size_t)i * panel_block, add);
    for (; i < blocks; i++)
        spread_columns(ROWS, 1, src, matrix + (size_t)i * column, diff + (size_t)i * panel_block,
                       add);
}

/* `rows` positions of `blocks` blocks of diff; the panels and diff begin at the first block. */
KERNEL_INLINE void blend_tile(const int rows, const int blocks, const struct gram_panel *x,
                              const float *of_x, const struct gram_panel *y, const float *of_y,
                              float *diff, bool add)
{
    const size_t positions = (size_t)x->positions, panel_block = positions * LANES;
    vector sum[16] = {0};
    if (add)
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int c = 0; c < blocks * PARTS; c++)
                sum[r * blocks * PARTS + c] = load(diff + AT(r, c, panel_block));
    multiply(rows, blocks, sum, &(struct operands){of_x, x->data, positions, 1, panel_block},
             x->positions);
    multiply(rows, blocks, sum, &(struct operands){of_y, y->data, positions, 1, panel_block},
             x->positions);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int c = 0; c < blocks * PARTS; c++)
            store(diff + AT(r, c, panel_block), sum[r * blocks * PARTS + c]);
}

KERNEL_INLINE void blend_columns(const int rows, const int blocks, const struct gram_panel *x,
                                 const float *of_x, const struct gram_panel *y, const float *of_y,
                                 float *diff, bool add)
{
    const size_t positions = (size_t)x->positions;
    size_t p = 0;
    for (; p + (size_t)rows <= positions; p += (size_t)rows)
        blend_tile(rows, blocks, x, of_x + p * positions, y, of_y + p * positions, diff + p * LANES,
                   add);
    for (; p < positions; p++)
        blend_tile(1, blocks, x, of_x + p * positions, y, of_y + p * positions, diff + p * LANES,
                   add);
}

KERNEL_INLINE void blend(const struct gram_panel *x, const float *of_x, const struct gram_panel *y,
                         const float *of_y, float *diff, bool add)
{
    const size_t panel_block = (size_t)x->positions * LANES;
    struct gram_panel from_x = *x, from_y = *y;
    int left = x->blocks;
    while (left > 0) {
        const int blocks = ROWS == 16 && left >= 2 ? 2 : 1;
        if (blocks == 2)
            blend_columns(ROWS / 2, 2, &from_x, of_x, &from_y, of_y, diff, add);
        else
            blend_columns(ROWS, 1, &from_x, of_x, &from_y, of_y, diff, add);
        from_x.data += (size_t)blocks * panel_block;
        from_y.data += (size_t)blocks * panel_block;
        diff += (size_t)blocks * panel_block;
        left -= blocks;
    }
}

/* ---- dot products of positions ---- */

/* Of a tile: DOT_ROWS positions of x by DOT_COLUMNS of y. */
enum { DOT_COLUMNS = 4, DOT_ROWS = WIDTH == 16 ? 4 : 2, DOTS = DOT_ROWS * DOT_COLUMNS };

/* Sums of neighbours: a0 + a1, a2 + a3, ..., b0 + b1, ... */
KERNEL_INLINE vector add_neighbours(vector a, vector b)
{
    integers even, odd;
#pragma GCC unroll 16
    for (int l = 0; l < WIDTH; l++) {
        even[l] = 2 * l;
        odd[l] = 2 * l + 1;
    }
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
}

/* numbers[i] = the sum of sum[i]'s lanes: neighbours are added until one lane is left of each. */
KERNEL_INLINE void sum_lanes(vector sum[DOTS], float numbers[DOTS])
{
    if (WIDTH == 16) {
#pragma GCC unroll 16
        for (int i = 0; i < DOTS / 2; i++)
            sum[i] = add_neighbours(sum[2 * i], sum[2 * i + 1]);
    }
    const int from = WIDTH == 16 ? DOTS / 2 : DOTS;
#pragma GCC unroll 8
    for (int i = 0; i < from / 2; i++)
        sum[i] = add_neighbours(sum[2 * i], sum[2 * i + 1]);
#pragma GCC unroll 8
    for (int i = 0; i < from / 4; i++)
        sum[i] = add_neighbours(sum[2 * i], sum[2 * i + 1]);
    if (WIDTH == 4) {
        store(numbers, sum[0]);
        store(numbers + WIDTH, sum[1]);
    } else {
        store(numbers, add_neighbours(sum[0], sum[1]));
    }
}

KERNEL_INLINE void dot_sums(const int rows, const int columns, const float *x, const float *y,
                            int blocks, size_t panel_block, vector *sum)
{
    for (int b = 0; b < blocks; b++) {
#pragma GCC unroll 4
        for (int part = 0; part < PARTS; part++) {
            vector from_x[4];
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++)
                from_x[r] = load(x + r * LANES + part * WIDTH);
#pragma GCC unroll 4
            for (int c = 0; c < columns; c++) {
                vector from_y = load(y + c * LANES + part * WIDTH);
#pragma GCC unroll 4
                for (int r = 0; r < rows; r++)
                    sum[r * columns + c] += from_x[r] * from_y;
            }
        }
        x += panel_block;
        y += panel_block;
    }
}

KERNEL_INLINE void dot_tile(const struct gram_panel *x, const struct gram_panel *y, size_t p,
                            size_t q, float *dots)
{
    const size_t positions = (size_t)x->positions;
    vector sum[DOTS] = {0};
    float numbers[DOTS];
    dot_sums(DOT_ROWS, DOT_COLUMNS, x->data + p * LANES, y->data + q * LANES, x->blocks,
             positions * LANES, sum);
    sum_lanes(sum, numbers);
    for (int r = 0; r < DOT_ROWS; r++)
        memcpy(dots + (p + (size_t)r) * positions + q, numbers + r * DOT_COLUMNS,
               DOT_COLUMNS * sizeof(float));
}

KERNEL_INLINE void dot_single(const struct gram_panel *x, const struct gram_panel *y, size_t p,
                              size_t q, float *dots)
{
    const size_t positions = (size_t)x->positions;
    vector sum[1] = {0};
    float number = 0;
    dot_sums(1, 1, x->data + p * LANES, y->data + q * LANES, x->blocks, positions * LANES, sum);
    for (int l = 0; l < WIDTH; l++)
        number += sum[0][l];
    dots[p * positions + q] = number;
}

KERNEL_INLINE void all_dots(const struct gram_panel *x, const struct gram_panel *y, float *dots)
{
    const size_t positions = (size_t)x->positions;
    const size_t rows = positions / DOT_ROWS * DOT_ROWS;
    const size_t columns = positions / DOT_COLUMNS * DOT_COLUMNS;
    for (size_t p = 0; p < rows; p += DOT_ROWS)
        for (size_t q = 0; q < columns; q += DOT_COLUMNS)
            dot_tile(x, y, p, q, dots);
    for (size_t p = 0; p < positions; p++)
        for (size_t q = p < rows ? columns : 0; q < positions; q++)
            dot_single(x, y, p, q, dots);
}

#undef AT

/* ---- the difference of two matrices ---- */

/* As many doubles as a register holds, and their singles. */
typedef float floats __attribute__((vector_size(WIDTH * 2)));
typedef double doubles __attribute__((vector_size(WIDTH * 4)));

/* One 16 x 16 block; its rows lie side by side in gram and in transposed. */
KERNEL_INLINE double block_difference(const float *target, float factor, float *gram,
                                      float *transposed)
{
    doubles squares = {0};
    for (int at = 0; at < BLOCK; at += WIDTH / 2) {
        floats found, wanted;
        memcpy(&found, gram + at, sizeof(found));
        memcpy(&wanted, target + at, sizeof(wanted));
        floats diff = found - wanted;
        doubles wide = __builtin_convertvector(diff, doubles);
        squares += wide * wide;
        diff *= factor;
        memcpy(gram + at, &diff, sizeof(diff));
    }
    for (int r = 0; r < LANES; r++)
        for (int c = 0; c < LANES; c++)
            transposed[c * LANES + r] = gram[r * LANES + c];
    double sum = 0;
    for (int l = 0; l < WIDTH / 2; l++)
        sum += squares[l];
    return sum;
}

KERNEL_INLINE double difference(int a_blocks, int b_blocks, const float *target, float factor,
                                float *gram, float *transposed)
{
    double sum = 0;
    for (int j = 0; j < b_blocks; j++)
        for (int i = 0; i < a_blocks; i++) {
            size_t at = ((size_t)j * (size_t)a_blocks + (size_t)i) * BLOCK;
            size_t across = ((size_t)i * (size_t)b_blocks + (size_t)j) * BLOCK;
            sum += block_difference(target + at, factor, gram + at, transposed + across);
        }
    return sum;
}

/* ---- the level ---- */

CPU_TARGET(FEATURES) static void enter_load(const struct tensor *map, int image, float *panel)
{
    load_map(map, image, panel);
}

CPU_TARGET(FEATURES)
static void enter_store(const float *panel, const struct tensor *map, int image, bool add)
{
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
                          float *gram)
{
    product(a, b, scale, gram);
}

CPU_TARGET(FEATURES)
static double enter_difference(int a_blocks, int b_blocks, const float *target, float factor,
                               float *gram, float *transposed)
{
    return difference(a_blocks, b_blocks, target, factor, gram, transposed);
}

CPU_TARGET(FEATURES)
static void enter_spread(const struct gram_panel *src, const float *matrix, int blocks, float *diff,
                         bool add)
{
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
