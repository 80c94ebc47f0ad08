/* shard.c - a data set as files that are mapped.
 *
 * The description is written last and by rename, so that a folder without it is no shard. What it
 * says is held against the files' sizes; labels are read and checked, pixels can be anything.
 *
 * Checksums are hash_bytes: one for each image, in a file of their own, so that images can be
 * written in any order and a damaged one be named; one for each file of labels and of checksums, in
 * the description; and one for the description, of its compact text without this one. */
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
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/format.h"
#include "data/image_set.h"

enum {
    LARGEST_DESCRIPTION = 16 * 1024 * 1024,
    LARGEST_SIDE = 4096,
    LABEL_BYTES = 4,
    SUM_BYTES = 8,
    VERSION = 2,
    CLASSES = 1 << 20, /* at most */
    VAL = 2,           /* the part that need not be there */
    PARTS = 3,
};

static const char description[] = "shard.json";
static const char lock_name[] = ".converting";
static const char format_name[] = "retort.shard";
const char *const shard_pixels[PARTS] = {"train.pixels", "test.pixels", "val.pixels"};
static const char *const shard_labels[PARTS] = {"train.labels", "test.labels", "val.labels"};
static const char *const shard_sums[PARTS] = {"train.sums", "test.sums", "val.sums"};
static const char *const part_names[PARTS] = {"train", "test", "val"};

/* Without an allocation, so that want of memory does not make a shard something else. */
bool shard_is_there(const char *path)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool there = folder >= 0 && faccessat(folder, description, F_OK, 0) == 0;
    if (folder >= 0)
        close(folder);
    return there;
}

/* The files that a folder may hold before it is a shard. */
static void remove_files(const char *folder)
{
    int opened = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0)
        return;
    unlinkat(opened, description, 0);
    for (int part = 0; part < PARTS; part++) {
        unlinkat(opened, shard_pixels[part], 0);
        unlinkat(opened, shard_labels[part], 0);
        unlinkat(opened, shard_sums[part], 0);
    }
    close(opened);
}

static enum retort_status check_empty(const char *folder)
{
    DIR *opened = opendir(folder);
    if (!opened)
        return fail(RETORT_IO, "%s: cannot open: %s", folder, strerror(errno));
    enum retort_status status = RETORT_OK;
    for (struct dirent *entry; status == RETORT_OK && (entry = readdir(opened));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") &&
            strcmp(entry->d_name, lock_name))
            status = fail(RETORT_INVALID, "%s: holds %s, an empty or new folder wanted", folder,
                          entry->d_name);
    closedir(opened);
    return status;
}

/* Under the lock, whose file was there already: somebody died. */
static enum retort_status remove_left_overs(const char *folder)
{
    if (shard_is_there(folder)) /* between its last file and its end */
        return RETORT_OK;
    remove_files(folder);
    return file_sweep(folder);
}

enum retort_status shard_begin(const char *folder, struct shard_making *making)
{
    struct shard_making made = {.folder = folder, .made = !file_exists(folder)};
    bool taken = false;
    char *path = file_join(folder, lock_name);
    enum retort_status status =
        path ? file_make_folder(folder) : fail(RETORT_MEMORY, "%s: out of memory", folder);
    const bool died = status == RETORT_OK && file_exists(path);
    if (status == RETORT_OK)
        status = lock_take(path, &made.lock, &taken);
    if (status == RETORT_OK && !taken)
        status = fail(RETORT_INVALID, "%s: another process converts a data set into it", folder);
    if (status == RETORT_OK && died)
        status = remove_left_overs(folder);
    if (status == RETORT_OK)
        status = check_empty(folder);
    free(path);
    if (status == RETORT_OK) {
        *making = made;
        return status;
    }
    lock_release(&made.lock);
    if (made.made)
        rmdir(folder);
    return status;
}

void shard_end(struct shard_making *making)
{
    lock_release(&making->lock);
    *making = (struct shard_making){0};
}

void shard_abandon(struct shard_making *making)
{
    const char *folder = making->made ? making->folder : NULL;
    if (making->folder)
        remove_files(making->folder);
    shard_end(making);
    if (folder)
        rmdir(folder);
}

/* ---- checksums ---- */

static json_t *sum_text(uint64_t sum)
{
    return json_sprintf("%016llx", (unsigned long long)sum);
}

static enum retort_status check_sum(const char *path, uint64_t found, const json_t *wanted)
{
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)found);
    if (json_is_string(wanted) && strcmp(json_string_value(wanted), text) == 0)
        return RETORT_OK;
    return fail(RETORT_FORMAT, "%s: damaged: checksum %s found, %s wanted", path, text,
                json_is_string(wanted) ? json_string_value(wanted) : "one in the description");
}

/* Of a description: it does not depend on spaces and order. */
static enum retort_status sum_description(const char *path, const json_t *json, uint64_t *sum)
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

/* ---- writing ---- */

/* A file of little-endian numbers and its checksum. */
struct number_writer {
    struct file_writer file;
    uint64_t sum;
};

static void write_number(struct number_writer *writer, uint64_t number, int bytes)
{
    unsigned char text[SUM_BYTES];
    for (int k = 0; k < bytes; k++)
        text[k] = (unsigned char)(number >> (8 * k));
    fwrite(text, 1, (size_t)bytes, writer->file.stream);
    writer->sum = hash_bytes(writer->sum, text, (size_t)bytes);
}

/* Labels, or sums. */
static enum retort_status write_numbers(const char *folder, const char *name,
                                        const struct image_set *set, bool sums, json_t *checksums)
{
    struct number_writer writer = {.sum = HASH_START};
    char *path = file_join(folder, name);
    enum retort_status status =
        path ? file_begin(path, &writer.file) : fail(RETORT_MEMORY, "%s: out of memory", folder);
    free(path);
    if (status != RETORT_OK)
        return status;
    for (int i = 0; i < set->count; i++)
        if (sums)
            write_number(&writer, set->sums[i], SUM_BYTES);
        else
            write_number(&writer, (uint64_t)set->labels[i], LABEL_BYTES);
    TRY(file_commit(&writer.file));
    return json_object_set_new(checksums, name, sum_text(writer.sum))
               ? fail(RETORT_MEMORY, "%s: out of memory", folder)
               : RETORT_OK;
}

/* json_array_append_new takes its value in any case; a NULL, where memory is out, is a failure. */
static json_t *list_names(const struct dataset *dataset)
{
    json_t *names = json_array();
    for (int i = 0; i < dataset->classes; i++)
        if (json_array_append_new(names, json_string(dataset->class_names[i]))) {
            json_decref(names);
            return NULL;
        }
    return names;
}

static json_t *list_numbers(const float *numbers, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        if (json_array_append_new(list, json_real((double)numbers[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* NULL: memory is out. */
static json_t *describe(const struct dataset *dataset, const struct image_set *train,
                        const struct image_set *test, json_t *checksums)
{
    return json_pack("{s:s, s:i, s:s, s:[iii], s:i, s:i, s:i, s:f, s:o, s:o, s:o, s:O}", "format",
                     format_name, "version", VERSION, "name", dataset->name, "shape",
                     train->channels, train->height, train->width, "train", train->count, "test",
                     test->count, "skipped", dataset->skipped.count, "held_out", dataset->held_out,
                     "mean", list_numbers(dataset->mean, train->channels), "std",
                     list_numbers(dataset->std, train->channels), "classes", list_names(dataset),
                     "checksums", checksums);
}

/* JSON holds no text that is not UTF-8. */
static enum retort_status check_names(const char *path, const struct dataset *dataset)
{
    for (int i = 0; i < dataset->classes; i++)
        if (!json_takes(dataset->class_names[i]))
            return fail(RETORT_FORMAT, "%s: the name of class %d is not UTF-8 text", path, i);
    return RETORT_OK;
}

static enum retort_status write_description(const char *path, json_t *json)
{
    uint64_t sum;
    if (!json)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    TRY(sum_description(path, json, &sum));
    char *text = json_object_set_new(json, "checksum", sum_text(sum))
                     ? NULL
                     : json_text(json, JSON_INDENT(1));
    if (!text)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    enum retort_status status = file_write(path, text, strlen(text));
    free(text);
    return status;
}

enum retort_status shard_describe(const char *folder, const struct dataset *dataset,
                                  const struct image_set *train, const struct image_set *test,
                                  const struct image_set *val)
{
    const struct image_set *sets[PARTS] = {train, test, val};
    json_t *checksums = json_object(), *json = NULL;
    char *path = file_join(folder, description);
    enum retort_status status =
        path && checksums ? RETORT_OK : fail(RETORT_MEMORY, "%s: out of memory", folder);
    for (int part = 0; part < PARTS && status == RETORT_OK; part++) {
        if (sets[part]->count == 0)
            continue;
        status = write_numbers(folder, shard_labels[part], sets[part], false, checksums);
        if (status == RETORT_OK)
            status = write_numbers(folder, shard_sums[part], sets[part], true, checksums);
    }
    if (status == RETORT_OK)
        status = check_names(path, dataset);
    if (status == RETORT_OK) {
        json = describe(dataset, train, test, checksums);
        if (json && val->count > 0 && json_object_set_new(json, "val", json_integer(val->count))) {
            json_decref(json);
            json = NULL;
        }
        status = write_description(path, json);
    }
    json_decref(json);
    json_decref(checksums);
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
    size_t bytes = (size_t)set->count * LABEL_BYTES;
    TRY(memory_zeroed((size_t)set->count, sizeof(*set->labels), &labels));
    set->labels = labels;
    TRY(map_numbers(path, bytes, sum, &data));
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < set->count && status == RETORT_OK; i++) {
        uint64_t label = little_endian(data + (size_t)i * LABEL_BYTES, LABEL_BYTES);
        if (label >= (uint64_t)classes)
            status =
                fail(RETORT_FORMAT, "%s: record %d at byte %zu: label %llu found, 0 to %d wanted",
                     path, i, (size_t)i * LABEL_BYTES, (unsigned long long)label, classes - 1);
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
    size_t bytes = (size_t)set->count * SUM_BYTES;
    TRY(memory_zeroed((size_t)set->count, sizeof(*set->sums), &sums));
    set->sums = sums;
    TRY(map_numbers(path, bytes, sum, &data));
    for (int i = 0; i < set->count; i++)
        set->sums[i] = little_endian(data + (size_t)i * SUM_BYTES, SUM_BYTES);
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
    struct image_set *sets[PARTS] = {&dataset->train, &dataset->test, &dataset->val};
    int version, shape[3], count;
    uint64_t sum;
    if (!format || strcmp(format, format_name) != 0)
        return fail(RETORT_FORMAT, "%s: format: %s found, %s wanted", path,
                    format ? format : "nothing", format_name);
    TRY(get_number(path, json_object_get(json, "version"), "version", 1, VERSION, &version));
    if (version < VERSION)
        return fail(RETORT_FORMAT,
                    "%s: version %d found, which has no checksums; %d wanted: convert the data set "
                    "again",
                    path, version, VERSION);
    if (!name || !name[0])
        return fail(RETORT_FORMAT, "%s: name: a text wanted", path);
    TRY(get_shape(path, json_object_get(json, "shape"), shape));
    for (int part = 0; part < PARTS; part++) {
        const json_t *number = json_object_get(json, part_names[part]);
        if (part == VAL && !number)
            continue;
        TRY(get_number(path, number, part_names[part], 1, INT_MAX - 1, &count));
        *sets[part] = (struct image_set){
            .count = count, .channels = shape[0], .height = shape[1], .width = shape[2]};
    }
    TRY(get_reals(path, json_object_get(json, "mean"), "mean", shape[0], 0, dataset->mean));
    TRY(get_reals(path, json_object_get(json, "std"), "std", shape[0], 0, dataset->std));
    TRY(get_number(path, json_object_get(json, "skipped"), "skipped", 0, INT_MAX,
                   &dataset->left_out));
    TRY(get_classes(path, json_object_get(json, "classes"), dataset));
    TRY(get_share(path, json_object_get(json, "held_out"), &dataset->held_out));
    for (int part = 0; part < PARTS; part++)
        if (sets[part]->count > 0)
            TRY(open_part(folder, part, json_object_get(json, "checksums"), dataset->classes,
                          sets[part]));
    TRY(sum_description(path, json, &sum));
    TRY(check_sum(path, sum, json_object_get(json, "checksum")));
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
    const struct image_set *sets[PARTS] = {&dataset->train, &dataset->test, &dataset->val};
    for (int part = 0; part < PARTS; part++) {
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
