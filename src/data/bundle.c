/* bundle.c - whole files from folders and archives. */
#include "data/bundle.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/format.h"
#include "data/stream.h"
#include "data/tar.h"

enum {
    SLACK = 16 * 1024 * 1024, /* bytes of an archive beyond the wanted members: headers, read-mes */
};

static enum retort_status allocate(size_t size, struct file_bytes *bytes)
{
    unsigned char *data = malloc(size + 1);
    if (!data)
        return fail(RETORT_MEMORY, "out of memory: %zu bytes were wanted", size);
    *bytes = (struct file_bytes){data, size};
    return RETORT_OK;
}

/* The whole stream; the size that it has without compression is known at its end only. */
static enum retort_status read_stream(struct stream *stream, struct file_bytes *bytes)
{
    struct file_bytes made = {0};
    size_t used = 0, size;
    const void *block;
    enum retort_status status;
    TRY(allocate((size_t)stream->limit, &made));
    for (;;) {
        TRY_DONE(stream_read(stream, &block, &size));
        if (size == 0)
            break;
        memcpy(made.data + used, block, size);
        used += size;
    }
    made.data[used] = 0;
    unsigned char *shrunk = realloc(made.data, used + 1);
    *bytes = (struct file_bytes){shrunk ? shrunk : made.data, used};
    return RETORT_OK;
done:
    free(made.data);
    return status;
}

static enum retort_status read_gzip(const char *path, struct bundle_member *member)
{
    struct stream stream;
    enum retort_status status = stream_open(&stream, path, member->limit);
    if (status == RETORT_OK) {
        status = stream.gzip ? read_stream(&stream, &member->bytes)
                             : fail(RETORT_FORMAT, "not gzip data, which its name promises");
        stream_close(&stream);
    }
    return status == RETORT_OK ? status : fail_in(status, "%s", path);
}

/* Add one name to a list in `text`, as far as it fits. */
static void append_name(char *text, size_t size, const char *name)
{
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s%s", used ? ", " : "", name);
}

static enum retort_status check_complete(const char *path, const struct bundle_member *members,
                                         int count)
{
    char missing[300] = "", wanted[300] = "";
    for (int i = 0; i < count; i++) {
        append_name(wanted, sizeof(wanted), members[i].name);
        if (!members[i].bytes.data)
            append_name(missing, sizeof(missing), members[i].name);
        else if (members[i].bytes.size == 0)
            return fail(RETORT_FORMAT, "%s: empty file", members[i].where);
    }
    if (missing[0])
        return fail(RETORT_FORMAT, "%s: %s not found; wanted: %s", path, missing, wanted);
    return RETORT_OK;
}

/* NAME or NAME.gz; neither leaves the member without bytes. */
static enum retort_status read_from_folder(const char *folder, struct bundle_member *member)
{
    char *plain = file_join(folder, member->name);
    size_t room = plain ? strlen(plain) + sizeof(".gz") : 0;
    char *packed = plain ? malloc(room) : NULL;
    enum retort_status status = RETORT_OK;
    if (!packed) {
        status = fail(RETORT_MEMORY, "%s: out of memory", folder);
        goto done;
    }
    snprintf(packed, room, "%s.gz", plain);
    bool is_plain = file_exists(plain);
    snprintf(member->where, sizeof(member->where), "%s", is_plain ? plain : packed);
    if (is_plain)
        status = file_read(plain, member->limit, &member->bytes);
    else if (file_exists(packed))
        status = read_gzip(packed, member);
done:
    free(packed);
    free(plain);
    return status;
}

static enum retort_status read_folder(const char *path, struct bundle_member *members, int count)
{
    for (int i = 0; i < count; i++)
        TRY(read_from_folder(path, &members[i]));
    return check_complete(path, members, count);
}

struct reading {
    const char *path;
    struct bundle_member *members;
    int count;
    const struct dataset_options *options;
    struct dataset *dataset; /* for what is skipped */
};

/* The base name of an entry in the archive's root or in a folder there; NULL for any other. */
static const char *entry_name(const char *path)
{
    const char *slash = strchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    return strchr(name, '/') ? NULL : name;
}

static struct bundle_member *find_member(const struct tar_entry *entry,
                                         struct bundle_member *members, int count)
{
    const char *name = entry->kind == TAR_FILE ? entry_name(entry->name) : NULL;
    for (int i = 0; i < count && name; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static enum retort_status read_entry(struct tar *tar, const struct tar_entry *entry,
                                     struct bundle_member *member)
{
    if (member->bytes.data)
        return fail(RETORT_FORMAT, "held more than once");
    if (entry->size > member->limit)
        return fail(RETORT_FORMAT, "%llu bytes found, at most %zu were wanted",
                    (unsigned long long)entry->size, member->limit);
    return tar_read(tar, entry->size, &member->bytes);
}

static enum retort_status sweep(const struct reading *reading, struct tar *tar)
{
    const char *path = reading->path;
    struct bundle_member *members = reading->members;
    const int count = reading->count;
    struct tar_entry entry;
    enum retort_status status;
    while ((status = tar_next(tar, &entry)) == RETORT_OK && entry.kind != TAR_END) {
        if (entry.kind == TAR_REFUSED)
            TRY(dataset_skip(reading->dataset, reading->options,
                             fail(RETORT_FORMAT,
                                  "%s: %s: a name that points out of the archive found", path,
                                  entry.name)));
        struct bundle_member *member = find_member(&entry, members, count);
        if (!member)
            continue;
        snprintf(member->where, sizeof(member->where), "%s: %s", path, member->name);
        status = read_entry(tar, &entry, member);
        if (status != RETORT_OK)
            return fail_in(status, "%s", member->where);
    }
    if (status != RETORT_OK)
        return fail_in(status, "%s", path);
    return check_complete(path, members, count);
}

static enum retort_status read_archive(const struct reading *reading)
{
    struct tar *tar = NULL;
    uint64_t limit = SLACK;
    for (int i = 0; i < reading->count; i++)
        limit += reading->members[i].limit;
    enum retort_status status = tar_open(reading->path, limit, &tar);
    if (status != RETORT_OK)
        return fail_in(status, "%s", reading->path);
    status = sweep(reading, tar);
    tar_close(tar);
    return status;
}

enum retort_status bundle_read(const char *path, struct bundle_member *members, int count,
                               const struct dataset_options *options, struct dataset *dataset)
{
    const struct reading reading = {path, members, count, options, dataset};
    for (int i = 0; i < count; i++)
        members[i].bytes = (struct file_bytes){0};
    enum retort_status status =
        file_is_folder(path) ? read_folder(path, members, count) : read_archive(&reading);
    if (status != RETORT_OK)
        bundle_release(members, count);
    return status;
}

void bundle_release(struct bundle_member *members, int count)
{
    for (int i = 0; i < count; i++) {
        free(members[i].bytes.data);
        members[i].bytes = (struct file_bytes){0};
    }
}
