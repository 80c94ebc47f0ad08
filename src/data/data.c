/* data.c - retort/data.h. */
#include "retort/data.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/dataset.h"
#include "data/duplicates.h"
#include "data/fetch.h"

bool retort_data_format(int index, struct retort_data_format *format)
{
    for (int i = 0; i <= index; i++)
        if (index < 0 || !dataset_formats[i])
            return false;
    const struct dataset_format *found = dataset_formats[index];
    *format =
        (struct retort_data_format){.name = found->name,
                                    .help = found->help,
                                    .default_path = found->default_paths[0],
                                    .can_fetch = found->source,
                                    .fetch_folder = found->source ? found->source->folder : NULL};
    return true;
}

/* The fewest and the most images of a class. */
static enum retort_status count_classes(const struct image_set *set, int classes, int range[2])
{
    void *block;
    TRY(memory_zeroed((size_t)classes, sizeof(int), &block));
    int *counts = block;
    for (int i = 0; i < set->count; i++)
        counts[set->labels[i]]++;
    range[0] = range[1] = counts[0];
    for (int k = 1; k < classes; k++) {
        range[0] = counts[k] < range[0] ? counts[k] : range[0];
        range[1] = counts[k] > range[1] ? counts[k] : range[1];
    }
    free(counts);
    return RETORT_OK;
}

/* What info tells is taken out of the data set, which is released. */
static enum retort_status take_info(struct dataset *dataset, struct retort_data_info *info)
{
    int train[2], test[2];
    enum retort_status status = count_classes(&dataset->train, dataset->classes, train);
    if (status == RETORT_OK)
        status = count_classes(&dataset->test, dataset->classes, test);
    if (status != RETORT_OK) {
        dataset_release(dataset);
        return status;
    }
    struct retort_data_info made = {
        .name = dataset->name,
        .classes = dataset->classes,
        .class_names = dataset->class_names,
        .shape = {dataset->train.channels, dataset->train.height, dataset->train.width},
        .train = dataset->train.count,
        .test = dataset->test.count,
        .val = dataset->val.count,
        .train_per_class = {train[0], train[1]},
        .test_per_class = {test[0], test[1]},
        .held_out = dataset->held_out,
        .left_out = dataset->left_out,
        .remark = dataset->remark,
        .skipped_count = dataset->skipped.count,
        .skipped = dataset->skipped.sentences,
    };
    for (int c = 0; c < made.shape[0]; c++) {
        made.mean[c] = (double)dataset->mean[c];
        made.std[c] = (double)dataset->std[c];
    }
    dataset->name = NULL;
    dataset->remark = NULL;
    dataset->class_names = NULL;
    dataset->classes = 0;
    dataset->skipped = (struct skip_list){0};
    dataset_release(dataset);
    *info = made;
    return RETORT_OK;
}

void retort_data_info_release(struct retort_data_info *info)
{
    for (int i = 0; i < info->classes; i++)
        free(info->class_names[i]);
    for (int i = 0; i < info->skipped_count; i++)
        free(info->skipped[i]);
    free(info->class_names);
    free(info->skipped);
    free(info->name);
    free(info->remark);
    *info = (struct retort_data_info){0};
}

static struct dataset_options reading_of(const struct retort_data_options *options)
{
    return (struct dataset_options){
        .size = options->size, .held_out = options->held_out, .skip_bad = options->skip_bad};
}

enum retort_status retort_data_info(const char *data, const struct retort_data_options *options,
                                    struct retort_data_info *info)
{
    struct dataset_options reading = reading_of(options);
    struct dataset dataset;
    reading.looks = true;
    TRY(dataset_open(data, &reading, &dataset));
    return take_info(&dataset, info);
}

enum retort_status retort_data_check(const char *data, const struct retort_data_options *options,
                                     struct retort_data_info *info,
                                     struct retort_data_duplicates *duplicates)
{
    struct dataset_options reading = reading_of(options);
    struct dataset dataset;
    struct duplicates found;
    reading.skip_bad = true;
    reading.looks = reading.verify = true;
    TRY(dataset_open(data, &reading, &dataset));
    enum retort_status status = duplicates_count(&dataset, &found);
    if (status != RETORT_OK) {
        dataset_release(&dataset);
        return status;
    }
    TRY(take_info(&dataset, info));
    *duplicates = (struct retort_data_duplicates){.train = found.equal[0][0],
                                                  .test = found.equal[1][1],
                                                  .shared = found.equal[1][0],
                                                  .val = found.equal[2][2],
                                                  .val_train = found.equal[2][0],
                                                  .val_test = found.equal[2][1],
                                                  .train_conflicts = found.conflicts[0][0],
                                                  .test_conflicts = found.conflicts[1][1],
                                                  .shared_conflicts = found.conflicts[1][0],
                                                  .val_conflicts = found.conflicts[2][2],
                                                  .val_train_conflicts = found.conflicts[2][0],
                                                  .val_test_conflicts = found.conflicts[2][1]};
    return RETORT_OK;
}

enum retort_status retort_data_convert(const char *data, const struct retort_data_options *options,
                                       const char *folder, struct retort_data_info *info)
{
    struct dataset_options reading = reading_of(options);
    const struct dataset_listener listener = {options->progress, options->context};
    struct dataset dataset;
    reading.listener = options->progress ? &listener : NULL;
    TRY(dataset_convert(data, &reading, folder, &dataset));
    return take_info(&dataset, info);
}

/* Files that are there already and whole are verified only, so a second call goes on where the
 * first one ended. */
static enum retort_status fetch_all(const struct dataset_format *format,
                                    const struct retort_data_fetching *fetching, const char *folder)
{
    const struct fetch_source *source = format->source;
    const struct fetch_listener listener = {fetching->progress, fetching->context};
    TRY(file_make_folder(folder));
    for (int i = 0; source->files[i].name; i++)
        TRY(fetch_file(fetching->from ? fetching->from : source->address, &source->files[i], folder,
                       &listener));
    return RETORT_OK;
}

enum retort_status retort_data_fetch(const struct retort_data_fetching *fetching)
{
    const struct dataset_format *format =
        dataset_find_format(fetching->name, strlen(fetching->name));
    if (!format || !format->source)
        return fail(RETORT_INVALID, "%s: %s", fetching->name,
                    format ? "its files must be fetched by hand" : "not a data set");
    char *folder = file_join(fetching->folder ? fetching->folder : format->source->folder, "");
    if (!folder)
        return fail(RETORT_MEMORY, "out of memory");
    enum retort_status status = fetch_all(format, fetching, folder);
    free(folder);
    return status;
}
