/* random.c - Philox4x32-10 and what is made of it. */
#include "base/random.h"

#include <math.h>

struct random_stream random_stream(uint64_t seed, enum random_purpose purpose, uint32_t a,
                                   uint32_t b)
{
    /* The purpose goes into the key's high word: seeds below 2^32 never share a key between
     * purposes. */
    uint64_t key = seed ^ ((uint64_t)purpose << 56) ^ ((uint64_t)purpose << 32);
    return (struct random_stream){{(uint32_t)key, (uint32_t)(key >> 32)}, a, b};
}

void random_bits4(const struct random_stream *stream, uint64_t index, uint32_t bits[4])
{
    uint32_t x0 = (uint32_t)index, x1 = (uint32_t)(index >> 32), x2 = stream->a, x3 = stream->b;
    uint32_t k0 = stream->key[0], k1 = stream->key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * x0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * x2;
        x0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)p1;
        x2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    bits[0] = x0;
    bits[1] = x1;
    bits[2] = x2;
    bits[3] = x3;
}

uint32_t random_bits(const struct random_stream *stream, uint64_t index)
{
    uint32_t bits[4];
    random_bits4(stream, index, bits);
    return bits[0];
}

uint32_t random_below(const struct random_stream *stream, uint64_t index, uint32_t limit)
{
    uint32_t bits[4];
    random_bits4(stream, index, bits);
    uint64_t wide = (uint64_t)bits[0] << 32 | bits[1];
    return (uint32_t)(((unsigned __int128)wide * limit) >> 64);
}

double random_normal(const struct random_stream *stream, uint64_t index)
{
    uint32_t bits[4];
    random_bits4(stream, index, bits);
    double u = (((uint64_t)bits[0] << 32 | bits[1]) + 1.0) *
               0x1p-64; /* in (0, 1]: the logarithm is finite */
    double v = (double)bits[2] * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

void random_permutation(const struct random_stream *stream, uint32_t count, uint32_t *order)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = random_below(stream, i, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
