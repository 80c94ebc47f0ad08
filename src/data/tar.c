/* tar.c - a second libarchive reader, which knows tar only, is fed from a stream.
 *
 * The stream is always read to its end, where the checks of the compression stand, even when the
 * wanted entries come first: tar_next does so after the last entry. */
#include "data/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/stream.h"

struct tar {
    struct stream stream;
    struct archive *archive;
    uint64_t fed, content; /* bytes of the stream; of these, up to the last that is not 0 */
    int64_t entries;       /* that have been read */
    int64_t start;         /* where the last one's header is, without compression */
    char name[TAR_NAME];   /* of the last one, cleaned */
};

/* The next bytes of the stream. */
static enum retort_status take(struct tar *tar, const void **data, size_t *size)
{
    TRY(stream_read(&tar->stream, data, size));
    const unsigned char *bytes = *data;
    for (size_t end = *size; end > 0; end--)
        if (bytes[end - 1]) {
            tar->content = tar->fed + end;
            break;
        }
    tar->fed += *size;
    return RETORT_OK;
}

static la_ssize_t feed(struct archive *archive, void *context, const void **data)
{
    size_t size;
    if (take(context, data, &size) == RETORT_OK)
        return (la_ssize_t)size;
    archive_set_error(archive, EINVAL, "%s", retort_message());
    return ARCHIVE_FATAL;
}

static enum retort_status fail_tar(struct tar *tar)
{
    /* A sentence of the stream is the cause of what tar says about it, and still recorded. */
    if (tar->stream.status != RETORT_OK)
        return tar->stream.status;
    if (archive_format(tar->archive) == 0)
        return fail(RETORT_FORMAT, "no tar archive found, a folder, tar, tar.gz or tar.xz wanted");
    return stream_fail_archive(tar->archive);
}

enum retort_status tar_open(const char *path, uint64_t limit, struct tar **tar)
{
    void *block;
    TRY(memory_zeroed(1, sizeof(struct tar), &block));
    struct tar *made = block;
    enum retort_status status = stream_open(&made->stream, path, limit);
    if (status != RETORT_OK) {
        free(made);
        return status;
    }
    made->archive = archive_read_new();
    if (!made->archive) {
        status = fail(RETORT_MEMORY, "out of memory");
    } else {
        if (archive_read_support_format_tar(made->archive) != ARCHIVE_OK)
            status = fail(RETORT_MEMORY, "out of memory");
        else if (archive_read_open(made->archive, made, NULL, feed, NULL) != ARCHIVE_OK)
            status = fail_tar(made);
    }
    if (status == RETORT_OK)
        *tar = made;
    else
        tar_close(made);
    return status;
}

void tar_close(struct tar *tar)
{
    if (!tar)
        return;
    archive_read_free(tar->archive);
    stream_close(&tar->stream);
    free(tar);
}

/* path without "." and empty parts, as far as it fits; false: it points out of the archive, or is
 * too long. */
static bool clean_name(const char *path, char *name)
{
    size_t used = 0;
    name[0] = '\0';
    if (path[0] == '/')
        return false;
    for (const char *part = path; *part;) {
        size_t length = strcspn(part, "/");
        if (length == 2 && strncmp(part, "..", 2) == 0)
            return false;
        if (length > 0 && !(length == 1 && part[0] == '.')) {
            if (used + length + 2 > TAR_NAME)
                return false;
            if (used > 0)
                name[used++] = '/';
            memcpy(name + used, part, length);
            used += length;
            name[used] = '\0';
        }
        part += length + (part[length] == '/');
    }
    return true;
}

static enum tar_kind find_kind(struct archive_entry *entry)
{
    if (archive_entry_hardlink(entry))
        return TAR_OTHER;
    if (archive_entry_filetype(entry) == AE_IFDIR)
        return TAR_FOLDER;
    return archive_entry_filetype(entry) == AE_IFREG ? TAR_FILE : TAR_OTHER;
}

/* Behind which entry an archive is damaged. */
static enum retort_status fail_behind(struct tar *tar)
{
    enum retort_status status = fail_tar(tar);
    if (tar->entries == 0 || status != RETORT_FORMAT)
        return status;
    return fail_in(status, "behind entry %lld, %s, which begins at byte %lld",
                   (long long)tar->entries, tar->name, (long long)tar->start);
}

/* What follows the tar's end holds the checks of the compression. The end is a block of zeros:
 * where there is none, the archive may have been cut between two entries, and what lies behind it
 * would not be read, as of two archives in one file. */
static enum retort_status finish(struct tar *tar)
{
    enum { BLOCK = 512 };
    const uint64_t end = (uint64_t)archive_read_header_position(tar->archive);
    const void *block;
    size_t size;
    do
        TRY(take(tar, &block, &size));
    while (size > 0);
    if (tar->content > end)
        return fail(RETORT_FORMAT,
                    "more found behind the archive's end, at byte %llu: one archive wanted",
                    (unsigned long long)end);
    return tar->fed >= end + BLOCK
               ? RETORT_OK
               : fail(RETORT_FORMAT,
                      "truncated: no end of the archive found behind %lld entries, %llu bytes",
                      (long long)tar->entries, (unsigned long long)tar->fed);
}

enum retort_status tar_next(struct tar *tar, struct tar_entry *entry)
{
    struct archive_entry *found;
    int code = archive_read_next_header(tar->archive, &found);
    if (code == ARCHIVE_EOF) {
        TRY(finish(tar));
        *entry = (struct tar_entry){0};
        return RETORT_OK;
    }
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
        return fail_behind(tar);
    const char *path = archive_entry_pathname(found);
    la_int64_t size = archive_entry_size(found);
    struct tar_entry made = {.kind = find_kind(found), .size = size > 0 ? (uint64_t)size : 0};
    if (!path || !clean_name(path, tar->name)) {
        snprintf(tar->name, sizeof(tar->name), "%s", path ? path : "");
        made.kind = TAR_REFUSED;
    }
    made.name = tar->name;
    tar->entries++;
    tar->start = archive_read_header_position(tar->archive);
    *entry = made;
    return RETORT_OK;
}

enum retort_status tar_read(struct tar *tar, uint64_t size, struct file_bytes *bytes)
{
    unsigned char *data = malloc((size_t)size + 1);
    if (!data)
        return fail(RETORT_MEMORY, "out of memory: %llu bytes were wanted",
                    (unsigned long long)size);
    size_t used = 0;
    enum retort_status status = RETORT_OK;
    while (used < size && status == RETORT_OK) {
        la_ssize_t got = archive_read_data(tar->archive, data + used, (size_t)size - used);
        if (got < 0)
            status = fail_tar(tar);
        else if (got == 0)
            status = fail(RETORT_FORMAT, "ended after %zu of %llu bytes", used,
                          (unsigned long long)size);
        else
            used += (size_t)got;
    }
    if (status != RETORT_OK) {
        free(data);
        return status;
    }
    data[size] = 0;
    *bytes = (struct file_bytes){data, (size_t)size};
    return RETORT_OK;
}
