/* loading.c - from a recipe's words to the options of src/data. */
#include "train/loading.h"

#include <string.h>

#include "base/hash.h"

struct dataset_options loading_dataset(const struct recipe_data *data)
{
    return (struct dataset_options){.limit = data->limit,
                                    .test_limit = data->test_limit,
                                    .val = data->val,
                                    .size = data->size,
                                    .held_out = data->held_out,
                                    .skip_bad = data->skip_bad};
}

static void add_augmentation(const struct recipe_data *data, const char *name,
                             struct loader_options *options)
{
    options->alternate |= strcmp(name, "alternating-flip") == 0;
    options->flip |= strcmp(name, "flip") == 0 || options->alternate;
    if (strcmp(name, "crop") == 0)
        options->crop = data->pad;
    else if (strcmp(name, "rotate") == 0)
        options->rotation = data->rotation;
    else if (strcmp(name, "cutout") == 0)
        options->cutout = data->cutout;
    else if (strcmp(name, "jitter") == 0)
        options->jitter = data->jitter;
    else if (strcmp(name, "mixup") == 0)
        options->mixup = data->mixup;
    else if (strcmp(name, "cutmix") == 0)
        options->cutmix = data->cutmix;
}

struct loader_options loading_train(const struct recipe_data *data, int batch, uint64_t seed)
{
    struct loader_options options = {.batch = batch,
                                     .seed = seed,
                                     .shuffle = true,
                                     .zero_border = data->border == BORDER_ZERO,
                                     .drop_last = true,
                                     .threads = data->loader_threads};
    for (int i = 0; i < data->augment.count; i++)
        add_augmentation(data, data->augment.items[i], &options);
    return options;
}

uint64_t loading_hash(uint64_t hash, const struct recipe_data *data)
{
    const struct loader_options options = loading_train(data, 1, 0);
    const int whole[] = {options.flip, options.alternate, options.crop, options.zero_border,
                         options.cutout};
    const double parts[] = {options.rotation, options.jitter, options.mixup, options.cutmix};
    hash = hash_bytes(hash, whole, sizeof(whole));
    return hash_bytes(hash, parts, sizeof(parts));
}
