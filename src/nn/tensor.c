/* tensor.c - between layouts and precisions, one number at a time. */
#include "nn/tensor.h"

#include <string.h>

size_t tensor_bytes(const struct tensor *tensor)
{
    size_t size = tensor->type == PRECISION_BF16 ? sizeof(uint16_t) : sizeof(float);
    return tensor_count(tensor) * size;
}

static size_t offset_of(const struct tensor *tensor, int n, int c, size_t position)
{
    size_t blocks = (size_t)tensor_channels(tensor) / tensor->block;
    size_t positions = (size_t)tensor->h * tensor->w;
    size_t block = (size_t)n * blocks + c / tensor->block;
    return (block * positions + position) * tensor->block + c % tensor->block;
}

void tensor_to_plain(const struct tensor *tensor, float *plain)
{
    size_t positions = (size_t)tensor->h * tensor->w;
    const float *floats = tensor->data;
    const uint16_t *halves = tensor->data;
    for (int n = 0; n < tensor->n; n++)
        for (int c = 0; c < tensor->c; c++)
            for (size_t i = 0; i < positions; i++) {
                size_t k = offset_of(tensor, n, c, i);
                *plain++ = tensor->type == PRECISION_BF16 ? bf16_to_float(halves[k]) : floats[k];
            }
}

void tensor_from_plain(const float *plain, const struct tensor *tensor)
{
    size_t positions = (size_t)tensor->h * tensor->w;
    float *floats = tensor->data;
    uint16_t *halves = tensor->data;
    memset(tensor->data, 0, tensor_bytes(tensor)); /* all bits 0 is 0 in both precisions */
    for (int n = 0; n < tensor->n; n++)
        for (int c = 0; c < tensor->c; c++)
            for (size_t i = 0; i < positions; i++, plain++) {
                size_t k = offset_of(tensor, n, c, i);
                if (tensor->type == PRECISION_BF16)
                    halves[k] = bf16_from_float(*plain);
                else
                    floats[k] = *plain;
            }
}
