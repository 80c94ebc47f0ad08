/* image_set.h - what readers of data sets do with struct image_set. */
#ifndef DATA_IMAGE_SET_H
#define DATA_IMAGE_SET_H

#include <stddef.h>

#include "data/dataset.h"

/* A set of zeroed pixels and labels. Release with image_set_release. */
enum retort_status image_set_make(struct image_set *set, int count, int channels, int height,
                                  int width);
/* Accepts a zeroed struct. */
void image_set_release(struct image_set *set);

/* Put every image into the middle of a larger one of zeros. Not for mapped or shared sets. */
enum retort_status image_set_pad(struct image_set *set, int height, int width);

/* Mean and standard deviation (of the population) per channel, of values / 255; exact up to the
 * last rounding. */
void image_set_measure(const struct image_set *set, float *mean, float *std);

/* The same from sums that are taken image by image. */
struct image_sums {
    uint64_t count; /* of values per channel */
    uint64_t sum[DATASET_CHANNELS], squares[DATASET_CHANNELS];
};
/* Add an image of `plane` values per channel; or take it away again. */
void image_sums_add(struct image_sums *sums, const uint8_t *pixels, int channels, size_t plane);
void image_sums_take(struct image_sums *sums, const uint8_t *pixels, int channels, size_t plane);
void image_sums_subtract(struct image_sums *sums, const struct image_sums *others);
void image_sums_finish(const struct image_sums *sums, int channels, float *mean, float *std);

/* Keep the first `limit` images of every class, in their order; 0 keeps all. */
enum retort_status image_set_limit(struct image_set *set, int classes, int limit);

/* Move `count` images of train into val, which shares train's pixels: of each class as many as its
 * share, chosen by the seed. Both keep their order. */
enum retort_status image_set_split(struct image_set *train, int classes, int count, uint64_t seed,
                                   struct image_set *val);

/* Floats, or bytes, of one image. */
size_t image_set_size(const struct image_set *set);

/* (channels, height, width) of one image. */
static inline const uint8_t *image_set_view(const struct image_set *set, size_t image)
{
    size_t place = set->rows ? set->rows[image] : image;
    return set->pixels + place * ((size_t)set->channels * (size_t)set->height * (size_t)set->width);
}

/* For mapped sets, nothing for others: begin to read images that will be wanted soon; give all
 * memory back that holds what was read, the next view reads it again. Any thread may call both. */
void image_set_prefetch(const struct image_set *set, size_t image);
void image_set_forget(const struct image_set *set);

#endif
