/* fingerprint.c - a hash of all that a run sees of a data set. */
#include "data/fingerprint.h"

#include <string.h>

#include "base/hash.h"
#include "data/image_set.h"

enum { SAMPLE = 4096 };

static uint64_t add_set(uint64_t hash, const struct image_set *set)
{
    const int shape[] = {set->count, set->channels, set->height, set->width};
    const size_t count = (size_t)set->count, bytes = image_set_size(set);
    const size_t every = set->mapped && count > SAMPLE ? count / SAMPLE : 1;
    hash = hash_bytes(hash, shape, sizeof(shape));
    if (count > 0)
        hash = hash_words(hash, set->labels, count * sizeof(*set->labels));
    for (size_t i = 0; i < count; i += every)
        hash = hash_words(hash, image_set_view(set, i), bytes);
    return hash;
}

uint64_t fingerprint_dataset(const struct dataset *dataset)
{
    uint64_t hash = hash_bytes(HASH_START, dataset->name, strlen(dataset->name));
    for (int i = 0; i < dataset->classes; i++)
        hash = hash_bytes(hash, dataset->class_names[i], strlen(dataset->class_names[i]) + 1);
    hash = hash_bytes(hash, dataset->mean, sizeof(dataset->mean));
    hash = hash_bytes(hash, dataset->std, sizeof(dataset->std));
    hash = add_set(hash, &dataset->train);
    hash = add_set(hash, &dataset->val);
    return add_set(hash, &dataset->test);
}
