/* shard_parts.h - inside shard.c and shard_write.c: what a shard's files are called, and the
 * checksum of its description. */
#ifndef DATA_SHARD_PARTS_H
#define DATA_SHARD_PARTS_H

#include <jansson.h>
#include <stdint.h>

#include "data/shard.h"

enum {
    SHARD_LABEL_BYTES = 4,
    SHARD_SUM_BYTES = 8,
    SHARD_VERSION = 2,
    SHARD_VAL = 2, /* the part that need not be there */
    SHARD_PARTS = 3,
};

extern const char shard_description[], shard_format[];
/* By part, as shard_pixels. */
extern const char *const shard_labels[SHARD_PARTS], *const shard_sums[SHARD_PARTS],
                                                        *const shard_part_names[SHARD_PARTS];

/* Of a description, without its own checksum: it does not depend on spaces and order. */
enum retort_status shard_sum_description(const char *path, const json_t *json, uint64_t *sum);

#endif
