/* gram_vector_tiles.h - part of gram_vector.h: products on matrix units (AMX).
 *
 * A tile is 16 rows of 64 bytes. One instruction adds to a tile of 16 x 16 f32 sums the products of
 * 16 rows of 32 numbers with 32 rows of 16: here 16 channels of a, 16 channels of b, 32 positions.
 * Packed pairs of b (gram_vector_halves.h) are what it wants on the right; on the left stand those
 * of a with rows and columns changed. Two by two blocks go together, so that a tile that is read is
 * used twice. spread runs over channels: 16 positions, 32 channels of src, and 16 of diff; the
 * numbers of the matrix are no bf16 numbers but sums of two. */

/* Tile 0 to 3: sums; 4 and 5: from the left; 6 and 7: from the right; all of them whole. */
static const struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes = {
    .palette = 1,
    .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
    .rows = {16, 16, 16, 16, 16, 16, 16, 16},
};

#define TILES(shapes) __asm__ volatile("ldtilecfg %0" ::"m"(*(shapes)))
#define TILES_END()   __asm__ volatile("tilerelease")
#define TILE_ZERO(t)  __asm__ volatile("tilezero %%tmm" #t ::)
#define TILE_LOAD(t, from)                                                                         \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((size_t)64) : "memory")
#define TILE_STORE(t, to)                                                                          \
    __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((size_t)64) : "memory")
#define TILE_ADD(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)

KERNEL_INLINE void scale_block(float *block, float scale)
{
    for (int i = 0; i < BLOCK; i += WIDTH)
        store(block + i, load(block + i) * scale);
}

/* One block of rows or two, one of columns or two; `block` numbers lie between the blocks of a and
 * of b, `column` between columns of gram. */
KERNEL_INLINE void tile_products(const int rows, const int columns, const uint32_t *a,
                                 const uint32_t *b, size_t block, float scale, float *gram,
                                 size_t column)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (size_t k = 0; k < block; k += BLOCK) {
        TILE_LOAD(4, a + k);
        TILE_LOAD(6, b + k);
        TILE_ADD(0, 4, 6);
        if (columns == 2) {
            TILE_LOAD(7, b + block + k);
            TILE_ADD(1, 4, 7);
        }
        if (rows == 2) {
            TILE_LOAD(5, a + block + k);
            TILE_ADD(2, 5, 6);
        }
        if (rows == 2 && columns == 2)
            TILE_ADD(3, 5, 7);
    }
    TILE_STORE(0, gram);
    if (columns == 2)
        TILE_STORE(1, gram + column);
    if (rows == 2)
        TILE_STORE(2, gram + BLOCK);
    if (rows == 2 && columns == 2)
        TILE_STORE(3, gram + column + BLOCK);
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            scale_block(gram + (size_t)c * column + (size_t)r * BLOCK, scale);
}

KERNEL_INLINE void tile_rows(const int rows, const uint32_t *a, const uint32_t *b, int b_blocks,
                             size_t block, float scale, float *gram, size_t column)
{
    int j = 0;
    for (; j + 2 <= b_blocks; j += 2)
        tile_products(rows, 2, a, b + (size_t)j * block, block, scale, gram + (size_t)j * column,
                      column);
    if (j < b_blocks)
        tile_products(rows, 1, a, b + (size_t)j * block, block, scale, gram + (size_t)j * column,
                      column);
}

KERNEL_INLINE void product_tiles(const struct gram_panel *a, const struct gram_panel *b,
                                 float scale, uint32_t *pairs, float *gram)
{
    const size_t column = (size_t)a->blocks * BLOCK, block = gram_pairs_count(1, a->positions);
    const size_t count = gram_pairs_count(a->blocks, a->positions);
    uint32_t *from_a = pairs, *from_b = pairs + count;
    pack_pairs(a, from_a);
    pack_pairs(b, from_b);
    for (size_t at = 0; at < count; at += BLOCK)
        turn_block((float *)from_a + at, (float *)from_a + at);
    TILES(&tile_shapes);
    int i = 0;
    for (; i + 2 <= a->blocks; i += 2)
        tile_rows(2, from_a + (size_t)i * block, from_b, b->blocks, block, scale,
                  gram + (size_t)i * BLOCK, column);
    if (i < a->blocks)
        tile_rows(1, from_a + (size_t)i * block, from_b, b->blocks, block, scale,
                  gram + (size_t)i * BLOCK, column);
    TILES_END();
}

/* ---- spread ---- */

/* rows [out] (ceil(blocks / 2), positions filled up to 16s, 16): 32 channels of a position. */
KERNEL_INLINE void pack_rows(const struct gram_panel *panel, uint32_t *rows)
{
    typedef uint16_t strip __attribute__((vector_size(WIDTH * 2)));
    const size_t positions = (size_t)panel->positions, filled = (positions + 15) / 16 * 16;
    for (int b = 0; b < panel->blocks; b += 2) {
        const float *from = panel->data + (size_t)b * positions * LANES;
        for (size_t p = 0; p < positions; p++, from += LANES, rows += LANES) {
            strip packed[2] = {0};
            packed[0] = __builtin_convertvector((pair_bits)load(from) >> 16, strip);
            if (b + 1 < panel->blocks)
                packed[1] =
                    __builtin_convertvector((pair_bits)load(from + positions * LANES) >> 16, strip);
            memcpy(rows, packed, sizeof(packed));
        }
        memset(rows, 0, (filled - positions) * LANES * sizeof(*rows));
        rows += (filled - positions) * LANES;
    }
}

/* bf16 numbers next to x, and next to what is left, in the upper halves. */
KERNEL_INLINE void split(vector x, pair_bits *high, pair_bits *low)
{
    *high = ((pair_bits)x + 0x8000) & 0xffff0000;
    *low = ((pair_bits)(x - (vector)*high) + 0x8000) & 0xffff0000;
}

/* Of each column of blocks: pairs of its rows (strips, 16, 16), high numbers and then low ones of
 * one strip after the other. */
KERNEL_INLINE void pack_matrix(const float *matrix, int src_blocks, int blocks, uint32_t *pairs)
{
    for (int i = 0; i < blocks; i++)
        for (int k = 0; k < src_blocks + src_blocks % 2; k++) {
            uint32_t *to = pairs + k % 2 * BLOCK / 2;
            for (int r = 0; r < LANES; r += 2, to += LANES) {
                pair_bits high[2] = {0}, low[2] = {0};
                for (int side = 0; side < 2 && k < src_blocks; side++, matrix += LANES)
                    split(load(matrix), &high[side], &low[side]);
                high[0] = high[0] >> 16 | high[1];
                low[0] = low[0] >> 16 | low[1];
                memcpy(to, high, sizeof(*high));
                memcpy(to + BLOCK, low, sizeof(*low));
            }
            pairs += k % 2 * 2 * BLOCK;
        }
}

/* 16 positions of one block, of which `rows` are there. */
KERNEL_INLINE void put_rows(const float *sums, int rows, float *diff, bool add)
{
    for (int r = 0; r < rows * LANES; r += LANES)
        store(diff + r, add ? load(diff + r) + load(sums + r) : load(sums + r));
}

/* 16 positions or twice as many, one block of diff. `strip` numbers lie between strips of a. */
KERNEL_INLINE void tile_spread(const int count, const uint32_t *a, const uint32_t *b, int strips,
                               size_t strip, float *diff, int rows, bool add)
{
    float sums[2 * BLOCK];
    TILE_ZERO(0);
    TILE_ZERO(1);
    for (int k = 0; k < strips; k++, a += strip, b += 2 * BLOCK) {
        TILE_LOAD(4, a);
        TILE_LOAD(6, b);
        TILE_LOAD(7, b + BLOCK);
        TILE_ADD(0, 4, 6);
        TILE_ADD(0, 4, 7);
        if (count == 2) {
            TILE_LOAD(5, a + BLOCK);
            TILE_ADD(1, 5, 6);
            TILE_ADD(1, 5, 7);
        }
    }
    TILE_STORE(0, sums);
    if (count == 2)
        TILE_STORE(1, sums + BLOCK);
    put_rows(sums, rows, diff, add);
}

KERNEL_INLINE void spread_tiles(const struct gram_panel *src, const float *matrix, int blocks,
                                uint32_t *pairs, float *diff, bool add)
{
    const int positions = src->positions, strips = (src->blocks + 1) / 2;
    const size_t strip = (size_t)(positions + 15) / 16 * BLOCK;
    const uint32_t *a = pairs, *b = pairs + (size_t)strips * strip;
    pack_rows(src, pairs);
    pack_matrix(matrix, src->blocks, blocks, pairs + (size_t)strips * strip);
    TILES(&tile_shapes);
    for (int i = 0; i < blocks; i++, b += (size_t)strips * 2 * BLOCK) {
        float *to = diff + (size_t)i * (size_t)positions * LANES;
        for (int p = 0; p < positions; p += 32, to += 2 * BLOCK) {
            const int left = positions - p;
            if (left > 16)
                tile_spread(2, a + (size_t)p * LANES, b, strips, strip, to, left < 32 ? left : 32,
                            add);
            else
                tile_spread(1, a + (size_t)p * LANES, b, strips, strip, to, left, add);
        }
    }
    TILES_END();
}

#undef TILES
#undef TILES_END
#undef TILE_ZERO
#undef TILE_LOAD
#undef TILE_STORE
#undef TILE_ADD
