/* shard.h - a folder that holds a data set as it is trained on: doc/formats.md.
 *
 * shard.json describes it; train.pixels and test.pixels hold the images one after the other,
 * (channels, height, width) bytes each; train.labels and test.labels a little-endian 32-bit number
 * for each, train.sums and test.sums a checksum of 64 bits; where a set has validation images of
 * its own, so do val.pixels, val.labels and val.sums. The pixels are mapped, never loaded as a
 * whole. */
#ifndef DATA_SHARD_H
#define DATA_SHARD_H

#include <stdbool.h>

#include "base/lock.h"
#include "data/dataset.h"

extern const char *const shard_pixels[3]; /* names of files, by enum image_part */

/* Whether a folder holds a shard. */
bool shard_is_there(const char *path);

/* A folder that becomes a shard. */
struct shard_making {
    const char *folder; /* borrowed */
    bool made;          /* it was not there before */
    struct lock lock;
};

/* Make the folder, or take one that is empty or holds what a conversion left that was killed, which
 * is removed. Any other is refused, and so is one that another process works in. */
enum retort_status shard_begin(const char *folder, struct shard_making *making);
/* It is done. Accepts a zeroed struct. */
void shard_end(struct shard_making *making);
/* It failed: remove what it has left. Accepts a zeroed struct. */
void shard_abandon(struct shard_making *making);

/* Write the labels, the sums and, last, shard.json. The sets need sums; val may be empty. */
enum retort_status shard_describe(const char *folder, const struct dataset *dataset,
                                  const struct image_set *train, const struct image_set *test,
                                  const struct image_set *val);

/* Fill dataset, the name included. All but the pixels is held against its checksums. */
enum retort_status shard_open(const char *path, struct dataset *dataset);
/* Hold the pixels of what shard_open has opened against theirs: reads all of them. */
enum retort_status shard_verify(const char *path, const struct dataset *dataset);

#endif
