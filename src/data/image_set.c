/* image_set.c - memory, padding, statistics and limits of image sets. */
#include "data/image_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

size_t image_set_size(const struct image_set *set)
{
    return (size_t)set->channels * (size_t)set->height * (size_t)set->width;
}

enum retort_status image_set_make(struct image_set *set, int count, int channels, int height,
                                  int width)
{
    struct image_set made = {
        .count = count, .channels = channels, .height = height, .width = width};
    void *pixels, *labels;
    TRY(memory_zeroed((size_t)count, image_set_size(&made), &pixels));
    enum retort_status status = memory_zeroed((size_t)count, sizeof(*made.labels), &labels);
    if (status != RETORT_OK) {
        free(pixels);
        return status;
    }
    made.pixels = pixels;
    made.labels = labels;
    *set = made;
    return RETORT_OK;
}

void image_set_release(struct image_set *set)
{
    free(set->pixels);
    free(set->labels);
    *set = (struct image_set){0};
}

enum retort_status image_set_pad(struct image_set *set, int height, int width)
{
    struct image_set padded;
    TRY(image_set_make(&padded, set->count, set->channels, height, width));
    size_t planes = (size_t)set->count * (size_t)set->channels;
    size_t top = (size_t)(height - set->height) / 2, left = (size_t)(width - set->width) / 2;
    const uint8_t *src = set->pixels;
    for (size_t plane = 0; plane < planes; plane++) {
        uint8_t *dst = padded.pixels + (plane * (size_t)height + top) * (size_t)width + left;
        for (int y = 0; y < set->height; y++, src += set->width, dst += width)
            memcpy(dst, src, (size_t)set->width);
    }
    memcpy(padded.labels, set->labels, (size_t)set->count * sizeof(*set->labels));
    image_set_release(set);
    *set = padded;
    return RETORT_OK;
}

/* Sums of whole numbers are exact: 255^2 * 2^46 pixels fit. */
void image_set_measure(const struct image_set *set, float *mean, float *std)
{
    size_t plane = (size_t)set->height * (size_t)set->width;
    uint64_t sum[DATASET_CHANNELS] = {0}, squares[DATASET_CHANNELS] = {0};
    const uint8_t *pixels = set->pixels;
    for (int image = 0; image < set->count; image++)
        for (int c = 0; c < set->channels; c++, pixels += plane)
            for (size_t i = 0; i < plane; i++) {
                sum[c] += pixels[i];
                squares[c] += (uint32_t)pixels[i] * pixels[i];
            }
    double count = (double)set->count * (double)plane;
    for (int c = 0; c < set->channels; c++) {
        double average = (double)sum[c] / count;
        double variance = (double)squares[c] / count - average * average;
        mean[c] = (float)(average / 255);
        std[c] = (float)(sqrt(variance > 0 ? variance : 0) / 255);
    }
}

enum retort_status image_set_limit(struct image_set *set, int classes, int limit)
{
    if (limit == 0)
        return RETORT_OK;
    void *block;
    TRY(memory_zeroed((size_t)classes, sizeof(int), &block));
    int *seen = block;
    size_t size = image_set_size(set);
    int kept = 0;
    for (int i = 0; i < set->count; i++) {
        int label = set->labels[i];
        if (seen[label]++ >= limit)
            continue;
        if (kept < i)
            memcpy(set->pixels + (size_t)kept * size, set->pixels + (size_t)i * size, size);
        set->labels[kept++] = label;
    }
    free(seen);
    set->count = kept;
    /* Give the rest back; a refusal leaves the larger block, which is as good. */
    uint8_t *pixels = realloc(set->pixels, (size_t)kept * size);
    int *labels = realloc(set->labels, (size_t)kept * sizeof(*labels));
    set->pixels = pixels ? pixels : set->pixels;
    set->labels = labels ? labels : set->labels;
    return RETORT_OK;
}
