/* gram_vector_halves.h - part of gram_vector.h: products of bf16 numbers, two at a time.
 *
 * AVX-512 BF16 multiplies two pairs of neighbours and adds both products to an f32 sum, which is
 * twice the multiply-adds of f32. The sum here is over positions, so the neighbours are two
 * positions of a channel: panels are packed into such pairs first, which costs a hundredth of the
 * product. Only for WIDTH 16.
 *
 * Matrix units (gram_vector_tiles.h) take the same pairs. */

typedef uint32_t pair_bits __attribute__((vector_size(WIDTH * 4)));

KERNEL_INLINE vector add_pairs(vector sum, pair_bits a, pair_bits b)
{
#if defined(__x86_64__)
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#endif
    return sum;
}

/* pairs [out] (blocks, gram_pair_rows, 16): an earlier position in the lower half. */
KERNEL_INLINE void pack_pairs(const struct gram_panel *panel, uint32_t *pairs)
{
    const int rest = gram_pair_rows(panel->positions) - (panel->positions + 1) / 2;
    for (int b = 0; b < panel->blocks; b++) {
        const float *from = panel->data + (size_t)b * (size_t)panel->positions * LANES;
        for (int p = 0; p < panel->positions; p += 2, from += 2 * LANES, pairs += LANES) {
            pair_bits packed = (pair_bits)load(from) >> 16;
            if (p + 1 < panel->positions)
                packed |= (pair_bits)load(from + LANES) & 0xffff0000;
            memcpy(pairs, &packed, sizeof(packed));
        }
        memset(pairs, 0, (size_t)rest * LANES * sizeof(*pairs));
        pairs += (size_t)rest * LANES;
    }
}

/* `rows` channels of one block of a times `blocks` blocks of b. */
KERNEL_INLINE void pairs_tile(const int rows, const int blocks, const uint32_t *a,
                              const uint32_t *b, int count, size_t block, float scale, float *gram,
                              size_t column)
{
    vector sum[16] = {0};
    for (int k = 0; k < count; k++, a += LANES, b += LANES) {
        pair_bits from_b[2];
#pragma GCC unroll 2
        for (int c = 0; c < blocks; c++)
            memcpy(&from_b[c], b + (size_t)c * block, sizeof(from_b[c]));
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int c = 0; c < blocks; c++)
                sum[r * blocks + c] =
                    add_pairs(sum[r * blocks + c], a[r] - (pair_bits){0}, from_b[c]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int c = 0; c < blocks; c++)
            store(gram + (size_t)c * column + (size_t)r * LANES, sum[r * blocks + c] * scale);
}

KERNEL_INLINE void product_halves(const struct gram_panel *a, const struct gram_panel *b,
                                  float scale, uint32_t *pairs, float *gram)
{
    const int count = (a->positions + 1) / 2;
    const size_t column = (size_t)a->blocks * BLOCK, block = gram_pairs_count(1, a->positions);
    const uint32_t *from_a = pairs, *from_b = pairs + gram_pairs_count(a->blocks, a->positions);
    pack_pairs(a, pairs);
    pack_pairs(b, pairs + gram_pairs_count(a->blocks, a->positions));
    for (int j = 0; j < b->blocks; j += 2)
        for (int i = 0; i < a->blocks; i++)
            for (int r = 0; r < LANES; r += 8) {
                float *to = gram + (size_t)j * column + (size_t)i * BLOCK + (size_t)r * LANES;
                const uint32_t *rows = from_a + (size_t)i * block + r;
                if (j + 1 < b->blocks)
                    pairs_tile(8, 2, rows, from_b + (size_t)j * block, count, block, scale, to,
                               column);
                else
                    pairs_tile(8, 1, rows, from_b + (size_t)j * block, count, block, scale, to,
                               column);
            }
}
