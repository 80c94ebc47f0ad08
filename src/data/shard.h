/* shard.h - a folder that holds a data set as it is trained on: doc/formats.md.
 *
 * shard.json describes it; train.pixels and test.pixels hold the images one after the other,
 * (channels, height, width) bytes each; train.labels and test.labels a little-endian 32-bit number
 * for each, train.sums and test.sums a checksum of 64 bits. The pixels are mapped, never loaded as
 * a whole. */
#ifndef DATA_SHARD_H
#define DATA_SHARD_H

#include <stdbool.h>

#include "data/dataset.h"

extern const char *const shard_pixels[2]; /* names of files, by enum image_part */

/* Whether a folder holds a shard. */
bool shard_is_there(const char *path);

/* Refuse a folder that cannot become a shard: one that is there and not empty. Makes it. */
enum retort_status shard_make_folder(const char *folder);
/* Remove what a shard that failed has left. */
void shard_abandon(const char *folder);

/* Write the labels, the sums and, last, shard.json. The sets need sums. */
enum retort_status shard_describe(const char *folder, const struct dataset *dataset,
                                  const struct image_set *train, const struct image_set *test);

/* Fill dataset, the name included. All but the pixels is held against its checksums. */
enum retort_status shard_open(const char *path, struct dataset *dataset);
/* Hold the pixels of what shard_open has opened against theirs: reads all of them. */
enum retort_status shard_verify(const char *path, const struct dataset *dataset);

#endif
