/* shard.c - a data set as files that are mapped.
 *
 * The description is written last and by rename, so that a folder without it is no shard. What it
 * says is held against the files' sizes; labels are read and checked, pixels can be anything. */
#include "data/shard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/format.h"
#include "data/image_set.h"

enum {
    LARGEST_DESCRIPTION = 16 * 1024 * 1024,
    LARGEST_SIDE = 4096,
    LABEL_BYTES = 4,
    CLASSES = 1 << 20, /* at most */
};

static const char description[] = "shard.json";
static const char format_name[] = "retort.shard";
const char *const shard_pixels[2] = {"train.pixels", "test.pixels"};
static const char *const shard_labels[2] = {"train.labels", "test.labels"};
static const char *const part_names[2] = {"train", "test"};

bool shard_is_there(const char *path)
{
    char *file = file_join(path, description);
    bool there = file && file_exists(file);
    free(file);
    return there;
}

enum retort_status shard_make_folder(const char *folder)
{
    TRY(file_make_folder(folder));
    DIR *opened = opendir(folder);
    if (!opened)
        return fail(RETORT_IO, "%s: cannot open: %s", folder, strerror(errno));
    enum retort_status status = RETORT_OK;
    for (struct dirent *entry; status == RETORT_OK && (entry = readdir(opened));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            status = fail(RETORT_INVALID, "%s: holds %s, an empty or new folder wanted", folder,
                          entry->d_name);
    closedir(opened);
    return status;
}

void shard_abandon(const char *folder)
{
    const char *const names[] = {description, shard_pixels[0], shard_pixels[1], shard_labels[0],
                                 shard_labels[1]};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = file_join(folder, names[i]);
        if (path)
            unlink(path);
        free(path);
    }
    rmdir(folder);
}

/* ---- writing ---- */

static enum retort_status write_labels(const char *path, const struct image_set *set)
{
    struct file_writer writer;
    TRY(file_begin(path, &writer));
    for (int i = 0; i < set->count; i++)
        for (int k = 0; k < LABEL_BYTES; k++)
            putc(set->labels[i] >> (8 * k) & 255, writer.stream);
    return file_commit(&writer);
}

static json_t *describe(const struct dataset *dataset, const struct image_set *train,
                        const struct image_set *test)
{
    json_t *names = json_array(), *mean = json_array(), *std = json_array();
    for (int i = 0; i < dataset->classes; i++)
        json_array_append_new(names, json_string(dataset->class_names[i]));
    for (int c = 0; c < train->channels; c++) {
        json_array_append_new(mean, json_real((double)dataset->mean[c]));
        json_array_append_new(std, json_real((double)dataset->std[c]));
    }
    return json_pack("{s:s, s:i, s:s, s:[iii], s:i, s:i, s:i, s:o, s:o, s:o}", "format",
                     format_name, "version", 1, "name", dataset->name, "shape", train->channels,
                     train->height, train->width, "train", train->count, "test", test->count,
                     "skipped", dataset->skipped.count, "mean", mean, "std", std, "classes", names);
}

/* jansson takes no text that is not UTF-8. */
static enum retort_status check_names(const char *path, const struct dataset *dataset)
{
    for (int i = 0; i < dataset->classes; i++) {
        json_t *name = json_string(dataset->class_names[i]);
        if (!name)
            return fail(RETORT_FORMAT, "%s: the name of class %d is not UTF-8 text", path, i);
        json_decref(name);
    }
    return RETORT_OK;
}

static enum retort_status write_description(const char *path, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
    if (!text)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    enum retort_status status = file_write(path, text, strlen(text));
    free(text);
    return status;
}

enum retort_status shard_describe(const char *folder, const struct dataset *dataset,
                                  const struct image_set *train, const struct image_set *test)
{
    const struct image_set *sets[2] = {train, test};
    enum retort_status status = RETORT_OK;
    for (int part = 0; part < 2 && status == RETORT_OK; part++) {
        char *path = file_join(folder, shard_labels[part]);
        status = path ? write_labels(path, sets[part]) : fail(RETORT_MEMORY, "out of memory");
        free(path);
    }
    if (status != RETORT_OK)
        return status;
    char *path = file_join(folder, description);
    if (!path)
        return fail(RETORT_MEMORY, "out of memory");
    status = check_names(path, dataset);
    json_t *json = status == RETORT_OK ? describe(dataset, train, test) : NULL;
    if (status == RETORT_OK)
        status = write_description(path, json);
    json_decref(json);
    free(path);
    return status;
}

/* ---- reading ---- */

static enum retort_status map_file(const char *path, uint64_t wanted, void **data)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return fail(RETORT_IO, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    enum retort_status status = RETORT_OK;
    void *mapped = MAP_FAILED;
    if (fstat(descriptor, &info) || !S_ISREG(info.st_mode))
        status = fail(RETORT_IO, "%s: not a regular file", path);
    else if ((uint64_t)info.st_size != wanted)
        status = fail(RETORT_FORMAT, "%s: %llu bytes found, its description wants %llu", path,
                      (unsigned long long)info.st_size, (unsigned long long)wanted);
    else
        mapped = mmap(NULL, (size_t)wanted, PROT_READ, MAP_SHARED, descriptor, 0);
    if (status == RETORT_OK && mapped == MAP_FAILED)
        status = fail(RETORT_IO, "%s: cannot map: %s", path, strerror(errno));
    close(descriptor);
    if (status == RETORT_OK)
        *data = mapped;
    return status;
}

static enum retort_status read_labels(const char *path, int classes, struct image_set *set)
{
    void *mapped, *labels;
    size_t bytes = (size_t)set->count * LABEL_BYTES;
    TRY(memory_zeroed((size_t)set->count, sizeof(*set->labels), &labels));
    set->labels = labels;
    TRY(map_file(path, bytes, &mapped));
    const unsigned char *data = mapped;
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < set->count && status == RETORT_OK; i++, data += LABEL_BYTES) {
        uint32_t label =
            data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
        if (label >= (uint32_t)classes)
            status =
                fail(RETORT_FORMAT, "%s: record %d at byte %zu: label %u found, 0 to %d wanted",
                     path, i, (size_t)i * LABEL_BYTES, label, classes - 1);
        else
            set->labels[i] = (int)label;
    }
    munmap(mapped, bytes);
    return status;
}

static enum retort_status open_part(const char *folder, int part, const int shape[3], int count,
                                    int classes, struct image_set *set)
{
    *set = (struct image_set){
        .count = count, .channels = shape[0], .height = shape[1], .width = shape[2]};
    size_t bytes = (size_t)count * image_set_size(set);
    char *pixels = file_join(folder, shard_pixels[part]);
    char *labels = file_join(folder, shard_labels[part]);
    void *mapped = NULL;
    enum retort_status status = RETORT_OK;
    if (!pixels || !labels)
        status = fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK)
        status = read_labels(labels, classes, set);
    if (status == RETORT_OK)
        status = map_file(pixels, bytes, &mapped);
    if (status == RETORT_OK) {
        set->pixels = mapped;
        set->mapped = bytes;
        madvise(mapped, bytes, MADV_RANDOM); /* neighbours in the file are none in an epoch */
    }
    free(pixels);
    free(labels);
    return status;
}

/* A whole number from low to high. */
static enum retort_status get_number(const char *path, const json_t *json, const char *name,
                                     int low, int high, int *number)
{
    if (!json_is_integer(json) || json_integer_value(json) < low || json_integer_value(json) > high)
        return fail(RETORT_FORMAT, "%s: %s: a whole number from %d to %d wanted", path, name, low,
                    high);
    *number = (int)json_integer_value(json);
    return RETORT_OK;
}

static enum retort_status get_shape(const char *path, const json_t *json, int shape[3])
{
    static const int most[3] = {DATASET_CHANNELS, LARGEST_SIDE, LARGEST_SIDE};
    if (json_array_size(json) != 3)
        return fail(RETORT_FORMAT, "%s: shape: [channels, height, width] wanted", path);
    for (size_t i = 0; i < 3; i++)
        TRY(get_number(path, json_array_get(json, i), "shape", 1, most[i], &shape[i]));
    return RETORT_OK;
}

static enum retort_status get_reals(const char *path, const json_t *json, const char *name,
                                    int count, double low, float *values)
{
    if (json_array_size(json) != (size_t)count)
        return fail(RETORT_FORMAT, "%s: %s: %d numbers wanted", path, name, count);
    for (int i = 0; i < count; i++) {
        double value = json_number_value(json_array_get(json, (size_t)i));
        if (!json_is_number(json_array_get(json, (size_t)i)) || !(value >= low && value <= 1))
            return fail(RETORT_FORMAT, "%s: %s: numbers from %g to 1 wanted", path, name, low);
        values[i] = (float)value;
    }
    return RETORT_OK;
}

static enum retort_status get_classes(const char *path, const json_t *json, struct dataset *dataset)
{
    size_t count = json_array_size(json);
    if (count < 1 || count > CLASSES)
        return fail(RETORT_FORMAT, "%s: classes: %zu names found, 1 to %d wanted", path, count,
                    CLASSES);
    TRY(dataset_make_classes(dataset, (int)count));
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_array_get(json, i);
        if (!json_is_string(name))
            return fail(RETORT_FORMAT, "%s: classes: name %zu is no text", path, i);
        TRY(dataset_name_class(dataset, (int)i, json_string_value(name), json_string_length(name)));
    }
    return RETORT_OK;
}

static enum retort_status read_description(const char *folder, const char *path, const json_t *json,
                                           struct dataset *dataset)
{
    const char *format = json_string_value(json_object_get(json, "format"));
    const char *name = json_string_value(json_object_get(json, "name"));
    int version, shape[3], counts[2];
    if (!format || strcmp(format, format_name) != 0)
        return fail(RETORT_FORMAT, "%s: format: %s found, %s wanted", path,
                    format ? format : "nothing", format_name);
    TRY(get_number(path, json_object_get(json, "version"), "version", 1, 1, &version));
    if (!name || !name[0])
        return fail(RETORT_FORMAT, "%s: name: a text wanted", path);
    TRY(get_shape(path, json_object_get(json, "shape"), shape));
    for (int part = 0; part < 2; part++)
        TRY(get_number(path, json_object_get(json, part_names[part]), part_names[part], 1,
                       INT_MAX - 1, &counts[part]));
    TRY(get_reals(path, json_object_get(json, "mean"), "mean", shape[0], 0, dataset->mean));
    TRY(get_reals(path, json_object_get(json, "std"), "std", shape[0], 0, dataset->std));
    TRY(get_number(path, json_object_get(json, "skipped"), "skipped", 0, INT_MAX,
                   &dataset->left_out));
    TRY(get_classes(path, json_object_get(json, "classes"), dataset));
    TRY(open_part(folder, 0, shape, counts[0], dataset->classes, &dataset->train));
    TRY(open_part(folder, 1, shape, counts[1], dataset->classes, &dataset->test));
    free(dataset->name);
    dataset->name = strdup(name);
    return dataset->name ? RETORT_OK : fail(RETORT_MEMORY, "%s: out of memory", path);
}

enum retort_status shard_open(const char *path, struct dataset *dataset)
{
    char *file = file_join(path, description);
    struct file_bytes bytes = {0};
    json_t *json = NULL;
    enum retort_status status;
    if (!file)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    TRY_DONE(file_read(file, LARGEST_DESCRIPTION, &bytes));
    TRY_DONE(json_parse(file, (const char *)bytes.data, bytes.size, &json));
    TRY_DONE(read_description(path, file, json, dataset));
done:
    json_decref(json);
    free(bytes.data);
    free(file);
    return status;
}

static enum retort_status open_shard(const char *path, const struct dataset_options *options,
                                     struct dataset *dataset)
{
    return shard_open(path, dataset);
}

const struct dataset_format dataset_shard = {
    .name = "shard",
    .help = "a folder that `retort data convert` made of another data set",
    .open = open_shard,
};
