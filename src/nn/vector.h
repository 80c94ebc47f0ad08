/* vector.h - sixteen numbers at a time, for our own kernels.
 *
 * Maps in blocked layout are runs of 16 or 8 channels; both are read as vectors of 16, which hold
 * one position of 16 channels or two positions of 8. A run of 8-channel positions may end with half
 * a vector: `lanes` numbers. Maps are f32 or bf16; arithmetic is always f32. `type` is a constant
 * where these are inlined, so the choice costs nothing. */
#ifndef NN_VECTOR_H
#define NN_VECTOR_H

#include <stdint.h>
#include <string.h>

#include "nn/bf16.h"
#include "nn/tensor.h"

enum { LANES = 16 };

typedef float vector __attribute__((vector_size(LANES * 4)));
typedef int32_t vector_mask __attribute__((vector_size(LANES * 4)));
typedef uint32_t vector_bits __attribute__((vector_size(LANES * 4)));
typedef uint16_t vector_half __attribute__((vector_size(LANES * 2)));

#define KERNEL_INLINE static inline __attribute__((always_inline))

KERNEL_INLINE vector vector_of(float x)
{
    return x - (vector){0};
}

KERNEL_INLINE vector vector_widen(vector_half half)
{
    return (vector)(__builtin_convertvector(half, vector_bits) << 16);
}

/* Round to nearest, ties to even; a NaN stays one. */
KERNEL_INLINE vector_half vector_narrow(vector x)
{
    vector_bits bits = (vector_bits)x;
    vector_bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    vector_bits nan = (bits >> 16) | 0x40;
    vector_mask number = x == x;
    rounded = (vector_bits)(((vector_mask)rounded & number) | ((vector_mask)nan & ~number));
    return __builtin_convertvector(rounded, vector_half);
}

/* A third `type` for the functions below: bf16, converted by bf16.h. */
#define BF16_NATIVE ((enum precision)(PRECISION_BF16 + 1))
/* Constant wherever it may be true: else both ways would be compiled. */
#define IS_NATIVE(type) (__builtin_constant_p(type) && (type) == BF16_NATIVE)

/* `lanes` numbers from place `at`; the other lanes are zero. */
KERNEL_INLINE vector vector_load(enum precision type, const void *map, size_t at, int lanes)
{
    if (type != PRECISION_F32) {
        vector_half half = {0};
        memcpy(&half, (const uint16_t *)map + at,
               lanes == LANES ? sizeof(half) : (size_t)lanes * 2);
        return IS_NATIVE(type) ? (vector)bf16_widen(half) : vector_widen(half);
    }
    vector x = {0};
    memcpy(&x, (const float *)map + at, lanes == LANES ? sizeof(x) : (size_t)lanes * 4);
    return x;
}

KERNEL_INLINE void vector_store(enum precision type, void *map, size_t at, int lanes, vector x)
{
    if (type != PRECISION_F32) {
        vector_half half = IS_NATIVE(type) ? bf16_narrow(x) : vector_narrow(x);
        memcpy((uint16_t *)map + at, &half, lanes == LANES ? sizeof(half) : (size_t)lanes * 2);
        return;
    }
    memcpy((float *)map + at, &x, lanes == LANES ? sizeof(x) : (size_t)lanes * 4);
}

/* x where keep is positive, else 0. */
KERNEL_INLINE vector vector_where_positive(vector keep, vector x)
{
    return (vector)((vector_mask)x & (keep > 0));
}

KERNEL_INLINE vector vector_relu(vector x)
{
    return vector_where_positive(x, x);
}

/* The numbers of a block of channels in every position of a vector: block of them, repeated. */
KERNEL_INLINE vector vector_channels(const float *numbers, int block)
{
    vector x;
    for (int i = 0; i < LANES; i++)
        x[i] = numbers[i % block];
    return x;
}

#endif
