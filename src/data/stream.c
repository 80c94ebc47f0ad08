/* stream.c - one libarchive reader with the "raw" format takes off the compression.
 *
 * The bytes are counted, so that a small file cannot unpack without end, and their CRC-32 is
 * compared with gzip's own record: libarchive 3.6 does not do that, and most flipped bits in image
 * data are otherwise valid deflate. (xz's checks are verified by liblzma.) These checks stand at
 * the end of a file, so who wants them reads to the end. */
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

/* The CRC of RFC 1952, section 8: polynomial 0xedb88320, reflected. */
static void make_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ UINT32_C(0xedb88320) : value >> 1;
        table[i] = value;
    }
}

static uint32_t checksum(const uint32_t table[256], uint32_t start, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint32_t value = ~start;
    for (size_t i = 0; i < size; i++)
        value = table[(value ^ bytes[i]) & 255] ^ value >> 8;
    return ~value;
}

void stream_close(struct stream *stream)
{
    archive_read_free(stream->raw);
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

enum retort_status stream_open(struct stream *stream, const char *path, uint64_t limit)
{
    struct stream made = {.descriptor = -1, .limit = limit};
    enum retort_status status;
    TRY_DONE(open_file(path, &made.descriptor));
    made.raw = archive_read_new();
    if (!made.raw) {
        status = fail(RETORT_MEMORY, "out of memory");
        goto done;
    }
    if (archive_read_support_filter_gzip(made.raw) != ARCHIVE_OK ||
        archive_read_support_filter_xz(made.raw) != ARCHIVE_OK ||
        archive_read_support_format_raw(made.raw) != ARCHIVE_OK ||
        archive_read_support_format_empty(made.raw) != ARCHIVE_OK) {
        status = fail(RETORT_MEMORY, "out of memory");
        goto done;
    }
    struct archive_entry *entry;
    int code = archive_read_open_fd(made.raw, made.descriptor, BLOCK);
    if (code == ARCHIVE_OK)
        code = archive_read_next_header(made.raw, &entry);
    if (code != ARCHIVE_OK) {
        status =
            code == ARCHIVE_EOF ? fail(RETORT_FORMAT, "empty file") : stream_fail_archive(made.raw);
        goto done;
    }
    made.gzip = archive_filter_code(made.raw, 0) == ARCHIVE_FILTER_GZIP;
    make_table(made.table);
    *stream = made;
    return RETORT_OK;
done:
    stream_close(&made);
    return status;
}

static uint32_t little_endian(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* A gzip file ends with the CRC-32 and the size (modulo 2^32) of its content. */
static enum retort_status check_trailer(const struct stream *stream)
{
    unsigned char trailer[8];
    off_t end = lseek(stream->descriptor, 0, SEEK_END);
    if (end < (off_t)sizeof(trailer) ||
        pread(stream->descriptor, trailer, sizeof(trailer), end - (off_t)sizeof(trailer)) !=
            (ssize_t)sizeof(trailer))
        return fail(RETORT_IO, "gzip checksum cannot be read");
    uint32_t wanted = little_endian(trailer), size = little_endian(trailer + 4);
    if (wanted != stream->checksum || size != (uint32_t)stream->size)
        return fail(RETORT_FORMAT,
                    "corrupt: checksum %08x of %llu bytes found, its last 8 bytes want %08x of %u",
                    stream->checksum, (unsigned long long)stream->size, wanted, size);
    return RETORT_OK;
}

static enum retort_status read_block(struct stream *stream, const void **data, size_t *size)
{
    la_int64_t offset;
    int code;
    *size = 0;
    do
        code = archive_read_data_block(stream->raw, data, size, &offset);
    while (code == ARCHIVE_OK && *size == 0);
    if (code == ARCHIVE_EOF) {
        *size = 0;
        return stream->gzip ? check_trailer(stream) : RETORT_OK;
    }
    if (code != ARCHIVE_OK) {
        enum retort_status status = stream_fail_archive(stream->raw);
        return stream->size == 0 ? status
                                 : fail_in(status, "after %llu bytes that were unpacked",
                                           (unsigned long long)stream->size);
    }
    stream->size += *size;
    if (stream->size > stream->limit)
        return fail(RETORT_FORMAT, "more than %llu bytes found, at most that many were wanted",
                    (unsigned long long)stream->limit);
    if (stream->gzip)
        stream->checksum = checksum(stream->table, stream->checksum, *data, *size);
    return RETORT_OK;
}

enum retort_status stream_read(struct stream *stream, const void **data, size_t *size)
{
    if (stream->status == RETORT_OK)
        stream->status = read_block(stream, data, size);
    return stream->status;
}
