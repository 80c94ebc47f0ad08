/* shard.c - a data set as files that are mapped: opening and checking it.
 *
 * The description is written last and by rename, so that a folder without it is no shard. What it
 * says is held against the files' sizes; labels are read and checked, pixels can be anything.
 *
 * Checksums are hash_bytes: one for each image, in a file of their own, so that images can be
 * written in any order and a damaged one be named; one for each file of labels and of checksums, in
 * the description; and one for the description, of its compact text without this one. */
#include "data/shard.h"

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
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/format.h"
#include "data/image_set.h"
#include "data/shard_parts.h"

enum {
    LARGEST_DESCRIPTION = 16 * 1024 * 1024,
    LARGEST_SIDE = 4096,
    CLASSES = 1 << 20, /* at most */
};

const char shard_description[] = "shard.json";
const char shard_format[] = "retort.shard";
const char *const shard_pixels[SHARD_PARTS] = {"train.pixels", "test.pixels", "val.pixels"};
const char *const shard_labels[SHARD_PARTS] = {"train.labels", "test.labels", "val.labels"};
const char *const shard_sums[SHARD_PARTS] = {"train.sums", "test.sums", "val.sums"};
const char *const shard_part_names[SHARD_PARTS] = {"train", "test", "val"};

/* Without an allocation, so that want of memory does not make a shard something else. */
bool shard_is_there(const char *path)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool there = folder >= 0 && faccessat(folder, shard_description, F_OK, 0) == 0;
    if (folder >= 0)
        close(folder);
    return there;
}

/* ---- checksums ---- */

static enum retort_status check_sum(const char *path, uint64_t found, const json_t *wanted)
{
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)found);
    if (json_is_string(wanted) && strcmp(json_string_value(wanted), text) == 0)
        return RETORT_OK;
    return fail(RETORT_FORMAT, "%s: damaged: checksum %s found, %s wanted", path, text,
                json_is_string(wanted) ? json_string_value(wanted) : "one in the description");
}

enum retort_status shard_sum_description(const char *path, const json_t *json, uint64_t *sum)
{
    json_t *rest = json_copy((json_t *)(uintptr_t)json); /* without what memory was missing for */
    bool whole = rest && json_object_size(rest) == json_object_size(json);
    if (rest)
        json_object_del(rest, "checksum");
    char *text = whole ? json_text(rest, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(rest);
    if (!text)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    *sum = hash_bytes(HASH_START, text, strlen(text));
    free(text);
    return RETORT_OK;
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

/* Numbers, all of them, whose checksum is right. */
static enum retort_status map_numbers(const char *path, size_t bytes, const json_t *sum,
                                      const unsigned char **data)
{
    void *mapped;
    TRY(map_file(path, bytes, &mapped));
    enum retort_status status = check_sum(path, hash_bytes(HASH_START, mapped, bytes), sum);
    if (status == RETORT_OK)
        *data = mapped;
    else
        munmap(mapped, bytes);
    return status;
}

static uint64_t little_endian(const unsigned char *bytes, int count)
{
    uint64_t number = 0;
    for (int k = count - 1; k >= 0; k--)
        number = number << 8 | bytes[k];
    return number;
}

static enum retort_status read_labels(const char *path, const json_t *sum, int classes,
                                      struct image_set *set)
{
    void *labels;
    const unsigned char *data;
    size_t bytes = (size_t)set->count * SHARD_LABEL_BYTES;
    TRY(memory_zeroed((size_t)set->count, sizeof(*set->labels), &labels));
    set->labels = labels;
    TRY(map_numbers(path, bytes, sum, &data));
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < set->count && status == RETORT_OK; i++) {
        uint64_t label = little_endian(data + (size_t)i * SHARD_LABEL_BYTES, SHARD_LABEL_BYTES);
        if (label >= (uint64_t)classes)
            status = fail(RETORT_FORMAT,
                          "%s: record %d at byte %zu: label %llu found, 0 to %d wanted", path, i,
                          (size_t)i * SHARD_LABEL_BYTES, (unsigned long long)label, classes - 1);
        else
            set->labels[i] = (int)label;
    }
    munmap((void *)(uintptr_t)data, bytes);
    return status;
}

static enum retort_status read_sums(const char *path, const json_t *sum, struct image_set *set)
{
    void *sums;
    const unsigned char *data;
    size_t bytes = (size_t)set->count * SHARD_SUM_BYTES;
    TRY(memory_zeroed((size_t)set->count, sizeof(*set->sums), &sums));
    set->sums = sums;
    TRY(map_numbers(path, bytes, sum, &data));
    for (int i = 0; i < set->count; i++)
        set->sums[i] = little_endian(data + (size_t)i * SHARD_SUM_BYTES, SHARD_SUM_BYTES);
    munmap((void *)(uintptr_t)data, bytes);
    return RETORT_OK;
}

static enum retort_status map_pixels(const char *path, struct image_set *set)
{
    void *mapped;
    size_t bytes = (size_t)set->count * image_set_size(set);
    TRY(map_file(path, bytes, &mapped));
    set->pixels = mapped;
    set->mapped = bytes;
    madvise(mapped, bytes, MADV_RANDOM); /* neighbours in the file are none in an epoch */
    return RETORT_OK;
}

static enum retort_status open_part(const char *folder, int part, const json_t *checksums,
                                    int classes, struct image_set *set)
{
    char *pixels = file_join(folder, shard_pixels[part]);
    char *labels = file_join(folder, shard_labels[part]);
    char *sums = file_join(folder, shard_sums[part]);
    enum retort_status status = RETORT_OK;
    if (!pixels || !labels || !sums)
        status = fail(RETORT_MEMORY, "%s: out of memory", folder);
    if (status == RETORT_OK)
        status = read_labels(labels, json_object_get(checksums, shard_labels[part]), classes, set);
    if (status == RETORT_OK)
        status = read_sums(sums, json_object_get(checksums, shard_sums[part]), set);
    if (status == RETORT_OK)
        status = map_pixels(pixels, set);
    free(pixels);
    free(labels);
    free(sums);
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

static enum retort_status get_share(const char *path, const json_t *json, double *share)
{
    double value = json_number_value(json);
    if (!json_is_number(json) || !(value >= 0 && value < 1))
        return fail(RETORT_FORMAT, "%s: held_out: a number from 0 to 1 wanted", path);
    *share = value;
    return RETORT_OK;
}

static enum retort_status get_remark(const char *path, const json_t *json, struct dataset *dataset)
{
    if (!json)
        return RETORT_OK;
    return json_is_string(json) ? dataset_set_remark(dataset, json_string_value(json))
                                : fail(RETORT_FORMAT, "%s: remark: a text wanted", path);
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
        const enum retort_status status =
            dataset_name_class(dataset, (int)i, json_string_value(name), json_string_length(name));
        if (status != RETORT_OK)
            return fail_in(status, "%s: classes", path);
    }
    return RETORT_OK;
}

static enum retort_status read_description(const char *folder, const char *path, const json_t *json,
                                           struct dataset *dataset)
{
    const char *format = json_string_value(json_object_get(json, "format"));
    const char *name = json_string_value(json_object_get(json, "name"));
    struct image_set *sets[SHARD_PARTS] = {&dataset->train, &dataset->test, &dataset->val};
    int version, shape[3], count;
    uint64_t sum;
    if (!format || strcmp(format, shard_format) != 0)
        return fail(RETORT_FORMAT, "%s: format: %s found, %s wanted", path,
                    format ? format : "nothing", shard_format);
    TRY(get_number(path, json_object_get(json, "version"), "version", 1, SHARD_VERSION, &version));
    if (version < SHARD_VERSION)
        return fail(RETORT_FORMAT,
                    "%s: version %d found, which has no checksums; %d wanted: convert the data set "
                    "again",
                    path, version, SHARD_VERSION);
    if (!name || !name[0])
        return fail(RETORT_FORMAT, "%s: name: a text wanted", path);
    TRY(get_shape(path, json_object_get(json, "shape"), shape));
    for (int part = 0; part < SHARD_PARTS; part++) {
        const json_t *number = json_object_get(json, shard_part_names[part]);
        if (part == SHARD_VAL && !number)
            continue;
        TRY(get_number(path, number, shard_part_names[part], 1, INT_MAX - 1, &count));
        *sets[part] = (struct image_set){
            .count = count, .channels = shape[0], .height = shape[1], .width = shape[2]};
    }
    TRY(get_reals(path, json_object_get(json, "mean"), "mean", shape[0], 0, dataset->mean));
    TRY(get_reals(path, json_object_get(json, "std"), "std", shape[0], 0, dataset->std));
    TRY(get_number(path, json_object_get(json, "skipped"), "skipped", 0, INT_MAX,
                   &dataset->left_out));
    TRY(get_classes(path, json_object_get(json, "classes"), dataset));
    TRY(get_share(path, json_object_get(json, "held_out"), &dataset->held_out));
    TRY(get_remark(path, json_object_get(json, "remark"), dataset));
    for (int part = 0; part < SHARD_PARTS; part++)
        if (sets[part]->count > 0)
            TRY(open_part(folder, part, json_object_get(json, "checksums"), dataset->classes,
                          sets[part]));
    TRY(shard_sum_description(path, json, &sum));
    TRY(check_sum(path, sum, json_object_get(json, "checksum")));
    free(dataset->name);
    dataset->name = strdup(name);
    return dataset->name ? RETORT_OK : fail(RETORT_MEMORY, "%s: out of memory", path);
}

enum retort_status shard_open(const char *path, struct dataset *dataset)
{
    char *file = file_join(path, shard_description);
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

/* ---- all pixels ---- */

/* The first image whose bytes are not those that were written, and how many there are. */
struct damage {
    int image, count;
    uint64_t sum;
};

static void find_damage(const struct image_set *set, struct damage *damage)
{
    enum { PERIOD = 64 << 20 };
    size_t size = image_set_size(set), held = 0;
    for (int i = 0; i < set->count; i++) {
        uint64_t sum = hash_bytes(HASH_START, image_set_view(set, (size_t)i), size);
        if (sum != set->sums[i] && damage->count++ == 0)
            damage->image = i, damage->sum = sum;
        held += size;
        if (held > PERIOD)
            image_set_forget(set), held = 0;
    }
}

enum retort_status shard_verify(const char *path, const struct dataset *dataset)
{
    const struct image_set *sets[SHARD_PARTS] = {&dataset->train, &dataset->test, &dataset->val};
    for (int part = 0; part < SHARD_PARTS; part++) {
        struct damage damage = {0};
        find_damage(sets[part], &damage);
        if (damage.count > 0)
            return fail(RETORT_FORMAT,
                        "%s/%s: image %d at byte %llu: damaged: checksum %016llx found, %016llx "
                        "wanted (%d damaged of %d)",
                        path, shard_pixels[part], damage.image,
                        (unsigned long long)damage.image * image_set_size(sets[part]),
                        (unsigned long long)damage.sum,
                        (unsigned long long)sets[part]->sums[damage.image], damage.count,
                        sets[part]->count);
    }
    return RETORT_OK;
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
