/* duplicates.c - images are sorted by a fingerprint of 64 bits; where it is equal, pixels are
 * compared, if they are there. */
#include "data/duplicates.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "data/image_set.h"

struct entry {
    uint64_t hash;
    int part, index;
    bool distinct; /* the first of its kind in its part */
};

static const struct image_set *find_set(const struct dataset *dataset, int part)
{
    return part ? &dataset->test : &dataset->train;
}

static int compare(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->hash != right->hash)
        return left->hash > right->hash ? 1 : -1;
    if (left->part != right->part)
        return left->part - right->part;
    return left->index - right->index;
}

/* Those of a shard are known; were one wrong, equal images could be missed, but not invented. */
static uint64_t find_hash(const struct image_set *set, int image)
{
    return set->sums
               ? set->sums[set->rows ? set->rows[image] : (uint32_t)image]
               : hash_bytes(HASH_START, image_set_view(set, (size_t)image), image_set_size(set));
}

static void fill(const struct dataset *dataset, int part, struct entry *entries)
{
    enum { PERIOD = 4096 };
    const struct image_set *set = find_set(dataset, part);
    for (int i = 0; i < set->count; i++) {
        entries[i] = (struct entry){find_hash(set, i), part, i, false};
        if (i % PERIOD == 0)
            image_set_forget(set);
    }
}

static bool is_equal(const struct dataset *dataset, const struct entry *a, const struct entry *b)
{
    const struct image_set *left = find_set(dataset, a->part), *right = find_set(dataset, b->part);
    if (!left->pixels || !right->pixels) /* they were looked at: 64 equal bits say enough */
        return true;
    return memcmp(image_set_view(left, (size_t)a->index), image_set_view(right, (size_t)b->index),
                  image_set_size(left)) == 0;
}

/* The earlier image of `part` in the group that entry equals, or NULL. */
static const struct entry *find_equal(const struct dataset *dataset, const struct entry *group,
                                      const struct entry *entry, int part)
{
    for (const struct entry *other = group; other < entry; other++)
        if (other->distinct && other->part == part && is_equal(dataset, other, entry))
            return other;
    return NULL;
}

static bool differ(const struct dataset *dataset, const struct entry *a, const struct entry *b)
{
    return find_set(dataset, a->part)->labels[a->index] !=
           find_set(dataset, b->part)->labels[b->index];
}

/* Entries of one fingerprint; training images come first. */
static void count_group(const struct dataset *dataset, struct entry *group, size_t count,
                        struct duplicates *found)
{
    for (struct entry *entry = group; entry < group + count; entry++) {
        const struct entry *twin = find_equal(dataset, group, entry, entry->part);
        entry->distinct = !twin;
        if (twin) {
            found->within[entry->part]++;
            found->conflicts[entry->part] += differ(dataset, twin, entry);
        }
        const struct entry *shared = entry->part ? find_equal(dataset, group, entry, 0) : NULL;
        if (shared) {
            found->shared++;
            found->shared_conflicts += differ(dataset, shared, entry);
        }
    }
}

enum retort_status duplicates_count(const struct dataset *dataset, struct duplicates *duplicates)
{
    size_t train = (size_t)dataset->train.count, all = train + (size_t)dataset->test.count;
    void *block;
    TRY(memory_zeroed(all, sizeof(struct entry), &block));
    struct entry *entries = block;
    struct duplicates found = {0};
    fill(dataset, 0, entries);
    fill(dataset, 1, entries + train);
    qsort(entries, all, sizeof(*entries), compare);
    for (size_t first = 0, end; first < all; first = end) {
        for (end = first + 1; end < all && entries[end].hash == entries[first].hash; end++)
            ;
        count_group(dataset, entries + first, end - first, &found);
    }
    free(entries);
    *duplicates = found;
    return RETORT_OK;
}
