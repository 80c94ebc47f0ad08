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
    const struct image_set *const sets[] = {&dataset->train, &dataset->test, &dataset->val};
    return sets[part];
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

/* Entries of one fingerprint; earlier parts come first. */
static void count_group(const struct dataset *dataset, struct entry *group, size_t count,
                        struct duplicates *found)
{
    for (struct entry *entry = group; entry < group + count; entry++) {
        entry->distinct = true;
        for (int part = 0; part <= entry->part; part++) {
            const struct entry *twin = find_equal(dataset, group, entry, part);
            if (!twin)
                continue;
            if (part == entry->part)
                entry->distinct = false;
            found->equal[entry->part][part]++;
            found->conflicts[entry->part][part] += differ(dataset, twin, entry);
        }
    }
}

enum retort_status duplicates_count(const struct dataset *dataset, struct duplicates *duplicates)
{
    size_t all = 0, filled = 0;
    void *block;
    for (int part = 0; part < DUPLICATES_PARTS; part++)
        all += (size_t)find_set(dataset, part)->count;
    TRY(memory_zeroed(all, sizeof(struct entry), &block));
    struct entry *entries = block;
    struct duplicates found = {0};
    for (int part = 0; part < DUPLICATES_PARTS; part++) {
        fill(dataset, part, entries + filled);
        filled += (size_t)find_set(dataset, part)->count;
    }
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
