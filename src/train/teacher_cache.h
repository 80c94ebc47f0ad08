/* teacher_cache.h - what frozen teachers say of every view of every image, kept in a file.
 *
 * With augmentation restricted to V views per image (data/loader.h) a teacher need look at each
 * view once: from the second time on its logits come from here. The file is mapped into memory, as
 * large from the beginning as it can get, its room on the disk taken. Logits are kept in half
 * precision (IEEE 754 binary16), each row with a checksum of its own, so that a row that a crash
 * cut short is taken for missing. A file made for other teachers, images or views is begun anew. */
#ifndef TRAIN_TEACHER_CACHE_H
#define TRAIN_TEACHER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct cache_key {
    int teachers, images, views, classes;
    uint64_t hash; /* of the teachers' parameters, the images, and what makes a view */
};

struct teacher_cache;

/* Bytes of the file. */
size_t cache_bytes(const struct cache_key *key);

/* Will the disk hold caches of so many bytes in a run's folder, which need not be there yet?
 * RETORT_IO if not; caches that are there already are not asked about. */
enum retort_status cache_check_room(const char *folder, double bytes);

/* The file of that path, made if it is not there. RETORT_IO when the disk has no room for it.
 * found [out]: it held rows of this key already. */
enum retort_status cache_open(const char *path, const struct cache_key *key,
                              struct teacher_cache **cache, bool *found);
/* Accepts NULL. The file stays. */
void cache_close(struct teacher_cache *cache);

/* Where it was opened. */
const char *cache_path(const struct teacher_cache *cache);

/* Is the row of a teacher (0 first) there? */
bool cache_has(const struct teacher_cache *cache, int teacher, int image, int view);
/* One row of logits, out and in. */
void cache_get(const struct teacher_cache *cache, int teacher, int image, int view, float *logits);
void cache_put(struct teacher_cache *cache, int teacher, int image, int view, const float *logits);

#endif
