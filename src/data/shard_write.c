/* shard_write.c - a folder becomes a shard. */
#include "data/shard_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"

static const char lock_name[] = ".converting";

/* ---- the folder ---- */

/* The files that a folder may hold before it is a shard. */
static void remove_files(const char *folder)
{
    int opened = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0)
        return;
    unlinkat(opened, shard_description, 0);
    for (int part = 0; part < SHARD_PARTS; part++) {
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

/* ---- the files ---- */

static json_t *sum_text(uint64_t sum)
{
    return json_sprintf("%016llx", (unsigned long long)sum);
}

/* A file of little-endian numbers and its checksum. */
struct number_writer {
    struct file_writer file;
    uint64_t sum;
};

static void write_number(struct number_writer *writer, uint64_t number, int bytes)
{
    unsigned char text[SHARD_SUM_BYTES];
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
            write_number(&writer, set->sums[i], SHARD_SUM_BYTES);
        else
            write_number(&writer, (uint64_t)set->labels[i], SHARD_LABEL_BYTES);
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
                     shard_format, "version", SHARD_VERSION, "name", dataset->name, "shape",
                     train->channels, train->height, train->width, "train", train->count, "test",
                     test->count, "skipped", dataset->skipped.count, "held_out", dataset->held_out,
                     "mean", list_numbers(dataset->mean, train->channels), "std",
                     list_numbers(dataset->std, train->channels), "classes", list_names(dataset),
                     "checksums", checksums);
}

/* What not every shard has. */
static bool describe_rest(json_t *json, const struct dataset *dataset, const struct image_set *val)
{
    return (val->count == 0 || !json_object_set_new(json, "val", json_integer(val->count))) &&
           (!dataset->remark || !json_object_set_new(json, "remark", json_string(dataset->remark)));
}

static enum retort_status write_description(const char *path, json_t *json)
{
    uint64_t sum;
    if (!json)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    TRY(shard_sum_description(path, json, &sum));
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
    const struct image_set *sets[SHARD_PARTS] = {train, test, val};
    json_t *checksums = json_object(), *json = NULL;
    char *path = file_join(folder, shard_description);
    enum retort_status status =
        path && checksums ? RETORT_OK : fail(RETORT_MEMORY, "%s: out of memory", folder);
    for (int part = 0; part < SHARD_PARTS && status == RETORT_OK; part++) {
        if (sets[part]->count == 0)
            continue;
        status = write_numbers(folder, shard_labels[part], sets[part], false, checksums);
        if (status == RETORT_OK)
            status = write_numbers(folder, shard_sums[part], sets[part], true, checksums);
    }
    if (status == RETORT_OK) {
        json = describe(dataset, train, test, checksums);
        if (json && !describe_rest(json, dataset, val)) {
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
