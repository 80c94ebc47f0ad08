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

/* Put every image into the middle of a larger one of zeros. */
enum retort_status image_set_pad(struct image_set *set, int height, int width);

/* Mean and standard deviation (of the population) per channel, of values / 255; exact up to the
 * last rounding. */
void image_set_measure(const struct image_set *set, float *mean, float *std);

/* Keep the first `limit` images of every class, in their order; 0 keeps all. */
enum retort_status image_set_limit(struct image_set *set, int classes, int limit);

/* Floats, or bytes, of one image. */
size_t image_set_size(const struct image_set *set);

#endif
