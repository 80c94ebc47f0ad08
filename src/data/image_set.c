/* image_set.c - memory, padding, statistics, limits and splits of image sets. */
#include "data/image_set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/random.h"

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
    if (set->mapped && !set->shared)
        munmap(set->pixels, set->mapped);
    else if (!set->shared)
        free(set->pixels);
    free(set->labels);
    free(set->rows);
    free(set->sums);
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

/* ---- statistics ---- */

/* Sums of whole numbers are exact: 255^2 * 2^46 values fit. Sums of one plane fit into 32 bits up
 * to 2^16 values, so planes are summed in pieces of that size. */
static void sum_plane(const uint8_t *pixels, size_t plane, uint64_t *sum, uint64_t *squares)
{
    enum { PIECE = 1 << 16 };
    for (size_t first = 0; first < plane; first += PIECE) {
        size_t end = plane - first < PIECE ? plane : first + PIECE;
        uint32_t values = 0, products = 0;
        for (size_t i = first; i < end; i++) {
            values += pixels[i];
            products += (uint32_t)pixels[i] * pixels[i];
        }
        *sum += values;
        *squares += products;
    }
}

void image_sums_add(struct image_sums *sums, const uint8_t *pixels, int channels, size_t plane)
{
    for (int c = 0; c < channels; c++)
        sum_plane(pixels + (size_t)c * plane, plane, &sums->sum[c], &sums->squares[c]);
    sums->count += plane;
}

void image_sums_take(struct image_sums *sums, const uint8_t *pixels, int channels, size_t plane)
{
    struct image_sums image = {0};
    image_sums_add(&image, pixels, channels, plane);
    image_sums_subtract(sums, &image);
}

void image_sums_subtract(struct image_sums *sums, const struct image_sums *others)
{
    sums->count -= others->count;
    for (int c = 0; c < DATASET_CHANNELS; c++) {
        sums->sum[c] -= others->sum[c];
        sums->squares[c] -= others->squares[c];
    }
}

void image_sums_finish(const struct image_sums *sums, int channels, float *mean, float *std)
{
    double count = (double)sums->count;
    for (int c = 0; c < channels; c++) {
        double average = (double)sums->sum[c] / count;
        double variance = (double)sums->squares[c] / count - average * average;
        mean[c] = (float)(average / 255);
        std[c] = (float)(sqrt(variance > 0 ? variance : 0) / 255);
    }
}

void image_set_measure(const struct image_set *set, float *mean, float *std)
{
    struct image_sums sums = {0};
    size_t plane = (size_t)set->height * (size_t)set->width;
    for (int i = 0; i < set->count; i++)
        image_sums_add(&sums, image_set_view(set, (size_t)i), set->channels, plane);
    image_sums_finish(&sums, set->channels, mean, std);
}

/* ---- subsets ---- */

/* Give the end of a block back; a refusal leaves the larger block, which is as good. */
static void *shrink(void *block, size_t bytes)
{
    void *smaller = realloc(block, bytes > 0 ? bytes : 1);
    return smaller ? smaller : block;
}

/* Of a set that owns its memory and is in order, pixels move; of others, only their places. */
static void keep(struct image_set *set, int from, int to)
{
    size_t size = image_set_size(set);
    set->labels[to] = set->labels[from];
    if (set->rows)
        set->rows[to] = set->rows[from];
    else if (to < from)
        memcpy(set->pixels + (size_t)to * size, set->pixels + (size_t)from * size, size);
}

static enum retort_status make_rows(struct image_set *set)
{
    if (set->rows)
        return RETORT_OK;
    void *rows;
    TRY(memory_zeroed((size_t)set->count, sizeof(*set->rows), &rows));
    set->rows = rows;
    for (int i = 0; i < set->count; i++)
        set->rows[i] = (uint32_t)i;
    return RETORT_OK;
}

enum retort_status image_set_limit(struct image_set *set, int classes, int limit)
{
    if (limit == 0 || set->count == 0)
        return RETORT_OK;
    if (set->mapped)
        TRY(make_rows(set));
    void *block;
    TRY(memory_zeroed((size_t)classes, sizeof(int), &block));
    int *seen = block, kept = 0;
    for (int i = 0; i < set->count; i++)
        if (seen[set->labels[i]]++ < limit)
            keep(set, i, kept++);
    free(seen);
    set->count = kept;
    set->labels = shrink(set->labels, (size_t)kept * sizeof(*set->labels));
    if (!set->rows)
        set->pixels = shrink(set->pixels, (size_t)kept * image_set_size(set));
    return RETORT_OK;
}

/* How many images of each class leave: in proportion, the rounding by the largest remainders. */
static void share_out(const int *present, int classes, int total, int count, int *taken)
{
    int given = 0;
    for (int k = 0; k < classes; k++) {
        taken[k] = (int)((int64_t)present[k] * count / total);
        given += taken[k];
    }
    while (given < count) {
        int best = -1;
        int64_t most = -1;
        for (int k = 0; k < classes; k++) {
            int64_t rest = (int64_t)present[k] * count - (int64_t)taken[k] * total;
            if (taken[k] < present[k] && rest > most) {
                most = rest;
                best = k;
            }
        }
        taken[best]++;
        given++;
    }
}

/* Mark the images that leave: the first ones of each class in an order that the seed gives. */
static enum retort_status choose(const struct image_set *train, int classes, int count,
                                 uint64_t seed, bool *leaves)
{
    uint32_t *order = NULL;
    int *present = NULL;
    void *block;
    enum retort_status status;
    TRY_DONE(memory_zeroed((size_t)train->count, sizeof(*order), &block));
    order = block;
    TRY_DONE(memory_zeroed(2 * (size_t)classes, sizeof(*present), &block));
    present = block;
    int *taken = present + classes;
    for (int i = 0; i < train->count; i++)
        present[train->labels[i]]++;
    share_out(present, classes, train->count, count, taken);
    struct random_stream stream = random_stream(seed, RANDOM_SPLIT, 0, 0);
    random_permutation(&stream, (uint32_t)train->count, order);
    for (int i = 0; i < train->count; i++) {
        int label = train->labels[order[i]];
        leaves[order[i]] = taken[label]-- > 0;
    }
done:
    free(order);
    free(present);
    return status;
}

static enum retort_status split(struct image_set *train, int count, const bool *leaves,
                                struct image_set *val)
{
    struct image_set made = {.channels = train->channels,
                             .height = train->height,
                             .width = train->width,
                             .pixels = train->pixels,
                             .mapped = train->mapped,
                             .shared = true};
    void *rows, *labels;
    TRY(make_rows(train));
    TRY(memory_zeroed((size_t)count, sizeof(*made.rows), &rows));
    made.rows = rows;
    enum retort_status status = memory_zeroed((size_t)count, sizeof(*made.labels), &labels);
    if (status != RETORT_OK) {
        image_set_release(&made);
        return status;
    }
    made.labels = labels;
    int kept = 0;
    for (int i = 0; i < train->count; i++) {
        if (leaves[i]) {
            made.rows[made.count] = train->rows[i];
            made.labels[made.count++] = train->labels[i];
        } else {
            keep(train, i, kept++);
        }
    }
    train->count = kept;
    *val = made;
    return RETORT_OK;
}

enum retort_status image_set_split(struct image_set *train, int classes, int count, uint64_t seed,
                                   struct image_set *val)
{
    if (count < 0 || (count > 0 && count >= train->count))
        return fail(RETORT_INVALID, "val: %d images found, 0 to %d wanted", count,
                    train->count - 1);
    if (count == 0)
        return RETORT_OK;
    void *leaves;
    TRY(memory_zeroed((size_t)train->count, sizeof(bool), &leaves));
    enum retort_status status = choose(train, classes, count, seed, leaves);
    if (status == RETORT_OK)
        status = split(train, count, leaves, val);
    free(leaves);
    return status;
}

/* ---- mapped sets ---- */

void image_set_prefetch(const struct image_set *set, size_t image)
{
    if (!set->mapped)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)image_set_view(set, image), first = start & ~(page - 1);
    madvise((void *)first, start - first + image_set_size(set), MADV_WILLNEED);
}

void image_set_forget(const struct image_set *set)
{
    if (set->mapped)
        madvise(set->pixels, set->mapped, MADV_DONTNEED);
}
