/* tensor.h - a view of numbers with shape and memory layout.
 *
 * Feature maps lie in memory either plain (n, c, h, w) or blocked, nChw8c / nChw16c:
 * (n, ceil(c / block), h, w, block), the layout in which the convolution kernels want them. The
 * channels that fill the last block are zero, always. Kernels outside the engine get such views. */
#ifndef NN_TENSOR_H
#define NN_TENSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum precision { PRECISION_F32, PRECISION_BF16 };

/* bf16 is the upper half of a float; stored as uint16_t. */
static inline float bf16_to_float(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* To nearest, ties to even; NaN stays NaN. */
static inline uint16_t bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* quiet: cutting could leave infinity */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct tensor {
    enum precision type;
    int n, c, h, w;
    int block; /* 1: plain (n, c, h, w); 8 or 16: channels innermost */
    void *data;
};

/* c rounded up to a multiple of the block. */
static inline int tensor_channels(const struct tensor *tensor)
{
    return (tensor->c + tensor->block - 1) / tensor->block * tensor->block;
}

/* Numbers in memory, padding included. */
static inline size_t tensor_count(const struct tensor *tensor)
{
    return (size_t)tensor->n * tensor_channels(tensor) * tensor->h * tensor->w;
}

size_t tensor_bytes(const struct tensor *tensor);

/* Copy between a tensor of any layout and precision and plain float (n, c, h, w).
 * tensor_from_plain zeroes the padding. Not for fast paths. */
void tensor_to_plain(const struct tensor *tensor, float *plain);
void tensor_from_plain(const float *plain, const struct tensor *tensor);

#endif
