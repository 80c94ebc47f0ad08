/* zip.c - libarchive's reader of zip archives. */
#include "data/zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/stream.h"

enum { BLOCK = 256 * 1024 };

struct zip {
    struct archive *archive;
};

enum retort_status zip_open(const char *path, struct zip **zip)
{
    void *block;
    if (access(path, R_OK))
        return fail(RETORT_IO, "cannot open: %s", strerror(errno));
    if (file_is_folder(path))
        return fail(RETORT_IO, "is a folder, a file was wanted");
    TRY(memory_zeroed(1, sizeof(struct zip), &block));
    struct zip *made = block;
    made->archive = archive_read_new();
    enum retort_status status = RETORT_OK;
    if (!made->archive)
        status = fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK) {
        if (archive_read_support_format_zip_seekable(made->archive) != ARCHIVE_OK)
            status = fail(RETORT_MEMORY, "out of memory");
        else if (archive_read_open_filename(made->archive, path, BLOCK) != ARCHIVE_OK)
            status = stream_fail_archive(made->archive);
    }
    if (status == RETORT_OK)
        *zip = made;
    else
        zip_close(made);
    return status;
}

void zip_close(struct zip *zip)
{
    if (!zip)
        return;
    archive_read_free(zip->archive);
    free(zip);
}

enum retort_status zip_next(struct zip *zip, const char **name)
{
    struct archive_entry *entry;
    int code = archive_read_next_header(zip->archive, &entry);
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN && code != ARCHIVE_EOF)
        return stream_fail_archive(zip->archive);
    const char *found = code == ARCHIVE_EOF ? NULL : archive_entry_pathname(entry);
    *name = code != ARCHIVE_EOF && !found ? "" : found;
    return RETORT_OK;
}

enum retort_status zip_read(struct zip *zip, void *data, size_t size)
{
    size_t used = 0;
    while (used < size) {
        la_ssize_t got = archive_read_data(zip->archive, (char *)data + used, size - used);
        if (got < 0)
            return stream_fail_archive(zip->archive);
        if (got == 0)
            return fail(RETORT_FORMAT, "ended %zu bytes too early", size - used);
        used += (size_t)got;
    }
    return RETORT_OK;
}

enum retort_status zip_finish(struct zip *zip)
{
    char byte;
    la_ssize_t got = archive_read_data(zip->archive, &byte, 1);
    if (got < 0)
        return stream_fail_archive(zip->archive);
    return got == 0 ? RETORT_OK : fail(RETORT_FORMAT, "more bytes follow its numbers");
}
