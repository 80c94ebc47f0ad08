/* gram_vector_products.h - part of gram_vector.h: sums of products.
 *
 * product (forward), spread (backward) and blend (by positions) are the same small step: a tile of
 * rows x blocks of 16 channels is kept in registers while one operand is read as vectors and the
 * other as single numbers, which the processor spreads over a vector as it reads them. product runs
 * over positions, spread over channels, blend over positions of another map. Tiles hold at least as
 * many multiply-adds as the processor has under way, 8, and leave registers for the operands. */
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

/* A panel with itself: what lies below the diagonal is copied from above. */
KERNEL_INLINE void all_dots(const struct gram_panel *x, const struct gram_panel *y, float *dots)
{
    const size_t positions = (size_t)x->positions;
    const bool symmetric = x->data == y->data;
    const size_t rows = positions / DOT_ROWS * DOT_ROWS;
    const size_t columns = positions / DOT_COLUMNS * DOT_COLUMNS;
    for (size_t p = 0; p < rows; p += DOT_ROWS)
        for (size_t q = symmetric ? p / DOT_COLUMNS * DOT_COLUMNS : 0; q < columns;
             q += DOT_COLUMNS)
            dot_tile(x, y, p, q, dots);
    for (size_t p = 0; p < positions; p++)
        for (size_t q = p < rows ? columns : 0; q < positions; q++)
            dot_single(x, y, p, q, dots);
    for (size_t p = 0; symmetric && p < positions; p++)
        for (size_t q = 0; q < p; q++)
            dots[p * positions + q] = dots[q * positions + p];
}

#undef AT

/* ---- the difference of two matrices ---- */

/* As many doubles as a register holds, and their singles. */
typedef float floats __attribute__((vector_size(WIDTH * 2)));
typedef double doubles __attribute__((vector_size(WIDTH * 4)));

/* 16 x 16 numbers with rows and columns changed; `to` may be `from`, or else lies apart. With
 * vectors of 16, halves of 8, then of 4, 2 and 1 change places. */
KERNEL_INLINE void turn_block(const float *from, float *to)
{
#if WIDTH == 16
    vector rows[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
        rows[r] = load(from + r * LANES);
#pragma GCC unroll 4
    for (int half = 8; half > 0; half /= 2) {
        integers upper, lower;
#pragma GCC unroll 16
        for (int l = 0; l < 16; l++) {
            upper[l] = l & half ? 16 + (l ^ half) : l;
            lower[l] = l & half ? 16 + l : l ^ half;
        }
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) {
            if (r & half)
                continue;
            const vector x = rows[r], y = rows[r + half];
            rows[r] = __builtin_shuffle(x, y, upper);
            rows[r + half] = __builtin_shuffle(x, y, lower);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
        store(to + r * LANES, rows[r]);
#else
    for (int r = 0; r < LANES; r++)
        for (int c = 0; c < LANES; c++)
            to[c * LANES + r] = from[r * LANES + c];
#endif
}

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
    turn_block(gram, transposed);
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
