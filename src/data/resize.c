/* resize.c - separable filtering by a triangle, rows first, then columns. */
#include "data/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { CHANNELS = 3 };

/* What one position of the result is made of. */
struct filter {
    int first, count;
    float *weights;
};

/* The filters of a whole side; weights of all lie in one block. */
struct filters {
    struct filter *of;
    float *block;
};

static void release_filters(struct filters *filters)
{
    free(filters->of);
    free(filters->block);
}

/* Pixel centres lie at i + 0.5. Position x of the result is at `start` + (x + 0.5) * scale. */
static void fill_filter(struct filter *filter, double centre, double reach, int side)
{
    int first = (int)floor(centre - reach), last = (int)ceil(centre + reach);
    filter->first = first < 0 ? 0 : first;
    filter->count = (last > side ? side : last) - filter->first;
    double sum = 0;
    for (int i = 0; i < filter->count; i++) {
        double distance = fabs(filter->first + i + 0.5 - centre) / reach;
        filter->weights[i] = distance < 1 ? (float)(1 - distance) : 0;
        sum += (double)filter->weights[i];
    }
    for (int i = 0; i < filter->count; i++)
        filter->weights[i] = (float)((double)filter->weights[i] / sum);
}

static enum retort_status make_filters(int side, double start, double scale, int size,
                                       struct filters *filters)
{
    double reach = scale > 1 ? scale : 1;
    size_t most = (size_t)ceil(2 * reach) + 2;
    struct filters made = {0};
    void *block;
    TRY(memory_zeroed((size_t)size, sizeof(*made.of), &block));
    made.of = block;
    enum retort_status status = memory_zeroed((size_t)size * most, sizeof(float), &block);
    if (status != RETORT_OK) {
        release_filters(&made);
        return status;
    }
    made.block = block;
    for (int i = 0; i < size; i++) {
        made.of[i].weights = made.block + (size_t)i * most;
        fill_filter(&made.of[i], start + (i + 0.5) * scale, reach, side);
    }
    *filters = made;
    return RETORT_OK;
}

/* One row of the image, `size` positions wide. */
static void filter_row(const uint8_t *src, const struct filters *columns, int size, float *dst)
{
    for (int x = 0; x < size; x++) {
        const struct filter *filter = &columns->of[x];
        const uint8_t *pixel = src + (size_t)filter->first * CHANNELS;
        float sum[CHANNELS] = {0};
        for (int i = 0; i < filter->count; i++, pixel += CHANNELS)
            for (int c = 0; c < CHANNELS; c++)
                sum[c] += filter->weights[i] * (float)pixel[c];
        for (int c = 0; c < CHANNELS; c++)
            dst[c * size + x] = sum[c];
    }
}

static uint8_t to_byte(float value)
{
    float rounded = value + 0.5f;
    return rounded <= 0 ? 0 : rounded >= 255 ? 255 : (uint8_t)rounded;
}

/* rows: (needed rows, 3, size), the first being row `first` of the image. */
static void filter_columns(const float *rows, int first, const struct filters *filters, int size,
                           uint8_t *dst)
{
    size_t row = CHANNELS * (size_t)size;
    for (int y = 0; y < size; y++) {
        const struct filter *filter = &filters->of[y];
        for (size_t k = 0; k < row; k++) {
            const float *src = rows + (size_t)(filter->first - first) * row + k;
            float sum = 0;
            for (int i = 0; i < filter->count; i++, src += row)
                sum += filter->weights[i] * *src;
            dst[(k / (size_t)size * (size_t)size + (size_t)y) * (size_t)size + k % (size_t)size] =
                to_byte(sum);
        }
    }
}

static void separate_planes(const uint8_t *src, int size, uint8_t *dst)
{
    size_t plane = (size_t)size * (size_t)size;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < CHANNELS; c++)
            dst[c * plane + i] = src[i * CHANNELS + c];
}

static enum retort_status filter(const uint8_t *src, int width, int size,
                                 const struct filters *columns, const struct filters *lines,
                                 uint8_t *dst)
{
    const struct filter *last_line = &lines->of[size - 1];
    int first = lines->of[0].first, last = last_line->first + last_line->count;
    size_t row = CHANNELS * (size_t)size;
    void *block;
    TRY(memory_zeroed((size_t)(last - first) * row, sizeof(float), &block));
    float *rows = block;
    for (int y = first; y < last; y++)
        filter_row(src + (size_t)y * (size_t)width * CHANNELS, columns, size,
                   rows + (size_t)(y - first) * row);
    filter_columns(rows, first, lines, size, dst);
    free(rows);
    return RETORT_OK;
}

enum retort_status resize_middle(const uint8_t *src, int width, int height, int size, uint8_t *dst)
{
    if (width == size && height == size) {
        separate_planes(src, size, dst);
        return RETORT_OK;
    }
    int shorter = width < height ? width : height;
    double scale = (double)shorter / size;
    struct filters columns = {0}, lines = {0};
    enum retort_status status;
    TRY_DONE(make_filters(width, (width - shorter) / 2.0, scale, size, &columns));
    TRY_DONE(make_filters(height, (height - shorter) / 2.0, scale, size, &lines));
    TRY_DONE(filter(src, width, size, &columns, &lines, dst));
done:
    release_filters(&columns);
    release_filters(&lines);
    return status;
}
