/* loading.h - how a recipe wants its data opened and its batches made. */
#ifndef TRAIN_LOADING_H
#define TRAIN_LOADING_H

#include <stdint.h>

#include "data/dataset.h"
#include "data/loader.h"
#include "recipe/recipe.h"

struct dataset_options loading_dataset(const struct recipe_data *data);

/* Batches for training: shuffled, augmented, full ones only. */
struct loader_options loading_train(const struct recipe_data *data, int batch, uint64_t seed);

/* Continue a fingerprint (base/hash.h) over all that decides what is done to an image. */
uint64_t loading_hash(uint64_t hash, const struct recipe_data *data);

#endif
