/* bundle.c - folders, archives and compressed files; the only user of libarchive.
 *
 * Compressed bytes pass through two libarchive readers: one with the "raw" format takes off the
 * compression, its output feeds another that knows tar only. In between the stream is counted, so
 * that a small file cannot unpack without end, and its CRC-32 is compared with gzip's own record:
 * libarchive 3.6 does not do that, and most flipped bits in image data are otherwise valid deflate.
 * (xz's checks are verified by liblzma.) The stream is always read to its end, where these checks
 * stand, even when the members come first. */
#include "data/bundle.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = 64 * 1024,
    SLACK = 16 * 1024 * 1024, /* bytes of an archive beyond the wanted members: headers, read-mes */
};

/* A file's bytes without their compression. Its sentences do not name the file: who reads knows
 * better where it is, and puts that before them. */
struct stream {
    struct archive *raw;
    int descriptor;
    bool gzip;
    uint64_t size, limit; /* bytes handed out; at most */
    uint32_t checksum;    /* CRC-32 of these, for gzip */
    uint32_t table[256];
    enum retort_status status; /* of stream_read: the first failure stays */
};

static enum retort_status fail_archive(struct archive *archive)
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

static void stream_close(struct stream *stream)
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

static enum retort_status stream_open(struct stream *stream, const char *path, uint64_t limit)
{
    struct stream made = {.descriptor = -1, .limit = limit};
    enum retort_status status;
    TRY_DONE(open_file(path, &made.descriptor));
    made.raw = archive_read_new();
    if (!made.raw) {
        status = fail(RETORT_MEMORY, "out of memory");
        goto done;
    }
    archive_read_support_filter_gzip(made.raw);
    archive_read_support_filter_xz(made.raw);
    archive_read_support_format_raw(made.raw);
    archive_read_support_format_empty(made.raw);
    struct archive_entry *entry;
    int code = archive_read_open_fd(made.raw, made.descriptor, BLOCK);
    if (code == ARCHIVE_OK)
        code = archive_read_next_header(made.raw, &entry);
    if (code != ARCHIVE_OK) {
        status = code == ARCHIVE_EOF ? fail(RETORT_FORMAT, "empty file") : fail_archive(made.raw);
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
    if (code != ARCHIVE_OK)
        return fail_archive(stream->raw);
    stream->size += *size;
    if (stream->size > stream->limit)
        return fail(RETORT_FORMAT, "more than %llu bytes found, at most that many were wanted",
                    (unsigned long long)stream->limit);
    if (stream->gzip)
        stream->checksum = checksum(stream->table, stream->checksum, *data, *size);
    return RETORT_OK;
}

/* The next bytes, borrowed until the next call; *size is 0 at the end. */
static enum retort_status stream_read(struct stream *stream, const void **data, size_t *size)
{
    if (stream->status == RETORT_OK)
        stream->status = read_block(stream, data, size);
    return stream->status;
}

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
                                         int count, const char *remark)
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
        return fail(RETORT_FORMAT, "%s: %s not found; wanted: %s%s", path, missing, wanted, remark);
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
    return check_complete(path, members, count, "");
}

/* An archive that is being swept: tar entries out of a stream. */
struct sweep {
    const char *path;
    struct stream stream;
    struct archive *tar;
    int refused; /* entries that point out of the archive */
};

static la_ssize_t feed_tar(struct archive *tar, void *context, const void **data)
{
    struct stream *stream = context;
    size_t size;
    if (stream_read(stream, data, &size) == RETORT_OK)
        return (la_ssize_t)size;
    archive_set_error(tar, EINVAL, "%s", retort_message());
    return ARCHIVE_FATAL;
}

static enum retort_status fail_tar(struct sweep *sweep)
{
    /* A sentence of the stream is the cause of what tar says about it, and still recorded. */
    if (sweep->stream.status != RETORT_OK)
        return sweep->stream.status;
    if (archive_format(sweep->tar) == 0)
        return fail(RETORT_FORMAT, "no tar archive found, a folder, tar, tar.gz or tar.xz wanted");
    return fail_archive(sweep->tar);
}

/* The base name of an entry in the archive's root or in a folder there; NULL for any other. */
static const char *entry_name(const char *path, int *refused)
{
    int depth = 0;
    const char *name = path;
    if (path[0] == '/') {
        ++*refused;
        return NULL;
    }
    for (const char *part = path; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t length = strcspn(part, "/");
        if (length == 2 && strncmp(part, "..", 2) == 0) {
            ++*refused;
            return NULL;
        }
        if (length == 0 || (length == 1 && part[0] == '.'))
            continue;
        depth++;
        name = part;
    }
    return depth <= 2 ? name : NULL;
}

static struct bundle_member *find_member(struct sweep *sweep, struct archive_entry *entry,
                                         struct bundle_member *members, int count)
{
    const char *path = archive_entry_pathname(entry);
    const char *name = path ? entry_name(path, &sweep->refused) : NULL;
    if (!name || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
        return NULL;
    for (int i = 0; i < count; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static enum retort_status read_entry(struct sweep *sweep, struct archive_entry *entry,
                                     struct bundle_member *member)
{
    la_int64_t size = archive_entry_size(entry);
    if (member->bytes.data)
        return fail(RETORT_FORMAT, "held more than once");
    if (size < 0 || (uint64_t)size > member->limit)
        return fail(RETORT_FORMAT, "%lld bytes found, at most %zu were wanted", (long long)size,
                    member->limit);
    TRY(allocate((size_t)size, &member->bytes));
    member->bytes.data[size] = 0;
    size_t used = 0;
    while (used < (size_t)size) {
        la_ssize_t got =
            archive_read_data(sweep->tar, member->bytes.data + used, (size_t)size - used);
        if (got < 0)
            return fail_tar(sweep);
        if (got == 0)
            return fail(RETORT_FORMAT, "ended after %zu of %lld bytes", used, (long long)size);
        used += (size_t)got;
    }
    return RETORT_OK;
}

static enum retort_status sweep_entries(struct sweep *sweep, struct bundle_member *members,
                                        int count)
{
    struct archive_entry *entry;
    int code;
    while ((code = archive_read_next_header(sweep->tar, &entry)) != ARCHIVE_EOF) {
        if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
            return fail_in(fail_tar(sweep), "%s", sweep->path);
        struct bundle_member *member = find_member(sweep, entry, members, count);
        if (!member)
            continue;
        snprintf(member->where, sizeof(member->where), "%s: %s", sweep->path, member->name);
        enum retort_status status = read_entry(sweep, entry, member);
        if (status != RETORT_OK)
            return fail_in(status, "%s", member->where);
    }
    return RETORT_OK;
}

/* What follows the tar's end holds the checks of the compression. */
static enum retort_status drain(struct sweep *sweep)
{
    const void *block;
    size_t size;
    do
        if (stream_read(&sweep->stream, &block, &size) != RETORT_OK)
            return fail_in(sweep->stream.status, "%s", sweep->path);
    while (size > 0);
    return RETORT_OK;
}

static enum retort_status sweep_archive(struct sweep *sweep, struct bundle_member *members,
                                        int count)
{
    sweep->tar = archive_read_new();
    if (!sweep->tar)
        return fail(RETORT_MEMORY, "%s: out of memory", sweep->path);
    archive_read_support_format_tar(sweep->tar);
    if (archive_read_open(sweep->tar, &sweep->stream, NULL, feed_tar, NULL) != ARCHIVE_OK)
        return fail_in(fail_tar(sweep), "%s", sweep->path);
    TRY(sweep_entries(sweep, members, count));
    TRY(drain(sweep));
    char remark[80] = "";
    if (sweep->refused)
        snprintf(remark, sizeof(remark), "; passed over: %d with an absolute name or \"..\"",
                 sweep->refused);
    return check_complete(sweep->path, members, count, remark);
}

static enum retort_status read_archive(const char *path, struct bundle_member *members, int count)
{
    struct sweep sweep = {.path = path};
    uint64_t limit = SLACK;
    for (int i = 0; i < count; i++)
        limit += members[i].limit;
    enum retort_status status = stream_open(&sweep.stream, path, limit);
    if (status != RETORT_OK)
        return fail_in(status, "%s", path);
    status = sweep_archive(&sweep, members, count);
    archive_read_free(sweep.tar);
    stream_close(&sweep.stream);
    return status;
}

enum retort_status bundle_read(const char *path, struct bundle_member *members, int count)
{
    for (int i = 0; i < count; i++)
        members[i].bytes = (struct file_bytes){0};
    enum retort_status status = file_is_folder(path) ? read_folder(path, members, count)
                                                     : read_archive(path, members, count);
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
