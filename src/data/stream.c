/* stream.c - gzip files by zlib; xz and plain ones by a libarchive reader with the "raw" format.
 *
 * (libarchive 3.6 reads gzip too, but does not verify its checksums, and most flipped bits in image
 * data are otherwise valid. xz's are verified by liblzma.) The bytes are counted, so that a small
 * file cannot unpack without end. Checksums stand at the end of a file, so who wants them reads to
 * the end. */
#include "data/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 64 * 1024 };

enum retort_status stream_fail_archive(struct archive *archive)
{
    const char *sentence = archive_error_string(archive);
    if (archive_errno(archive) == ENOMEM)
        return fail(RETORT_MEMORY, "out of memory");
    return fail(RETORT_FORMAT, "truncated or corrupt (%s)",
                sentence ? sentence : "no more is known");
}

void stream_close(struct stream *stream)
{
    archive_read_free(stream->raw);
    gzip_close(stream->gzip);
    if (stream->descriptor >= 0)
        close(stream->descriptor);
}

/* A regular file that is not empty. */
static enum retort_status open_file(const char *path, int *descriptor)
{
    /* O_NONBLOCK: a pipe is refused below instead of being waited for. */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        return fail(RETORT_IO, "cannot open: %s", strerror(errno));
    struct stat info;
    enum retort_status status = RETORT_OK;
    if (fstat(opened, &info))
        status = fail(RETORT_IO, "cannot inspect: %s", strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = fail(RETORT_IO, "not a regular file");
    else if (info.st_size == 0)
        status = fail(RETORT_FORMAT, "empty file");
    if (status == RETORT_OK)
        *descriptor = opened;
    else
        close(opened);
    return status;
}

static bool is_gzip(int descriptor)
{
    unsigned char start[2];
    return pread(descriptor, start, sizeof(start), 0) == (ssize_t)sizeof(start) &&
           start[0] == 0x1f && start[1] == 0x8b;
}

static enum retort_status open_raw(struct stream *stream)
{
    struct archive_entry *entry;
    stream->raw = archive_read_new();
    if (!stream->raw || archive_read_support_filter_xz(stream->raw) != ARCHIVE_OK ||
        archive_read_support_format_raw(stream->raw) != ARCHIVE_OK ||
        archive_read_support_format_empty(stream->raw) != ARCHIVE_OK)
        return fail(RETORT_MEMORY, "out of memory");
    int code = archive_read_open_fd(stream->raw, stream->descriptor, BLOCK);
    if (code == ARCHIVE_OK)
        code = archive_read_next_header(stream->raw, &entry);
    if (code == ARCHIVE_OK)
        return RETORT_OK;
    return code == ARCHIVE_EOF ? fail(RETORT_FORMAT, "empty file")
                               : stream_fail_archive(stream->raw);
}

enum retort_status stream_open(struct stream *stream, const char *path, uint64_t limit)
{
    struct stream made = {.descriptor = -1, .limit = limit};
    enum retort_status status = open_file(path, &made.descriptor);
    if (status == RETORT_OK)
        status =
            is_gzip(made.descriptor) ? gzip_open(made.descriptor, &made.gzip) : open_raw(&made);
    if (status == RETORT_OK)
        *stream = made;
    else
        stream_close(&made);
    return status;
}

static enum retort_status read_raw(struct stream *stream, const void **data, size_t *size)
{
    la_int64_t offset;
    int code;
    *size = 0;
    do
        code = archive_read_data_block(stream->raw, data, size, &offset);
    while (code == ARCHIVE_OK && *size == 0);
    if (code == ARCHIVE_OK)
        return RETORT_OK;
    *size = 0;
    return code == ARCHIVE_EOF ? RETORT_OK : stream_fail_archive(stream->raw);
}

static enum retort_status read_block(struct stream *stream, const void **data, size_t *size)
{
    const enum retort_status status =
        stream->gzip ? gzip_read(stream->gzip, data, size) : read_raw(stream, data, size);
    if (status != RETORT_OK)
        return stream->size == 0 ? status
                                 : fail_in(status, "after %llu bytes that were unpacked",
                                           (unsigned long long)stream->size);
    stream->size += *size;
    return stream->size <= stream->limit
               ? RETORT_OK
               : fail(RETORT_FORMAT, "more than %llu bytes found, at most that many were wanted",
                      (unsigned long long)stream->limit);
}

enum retort_status stream_read(struct stream *stream, const void **data, size_t *size)
{
    if (stream->status == RETORT_OK)
        stream->status = read_block(stream, data, size);
    return stream->status;
}
