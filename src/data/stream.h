/* stream.h - a file's bytes without their compression: plain, gzip or xz.
 *
 * Its sentences do not name the file: who reads knows better where it is, and puts that before
 * them. */
#ifndef DATA_STREAM_H
#define DATA_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/gzip.h"

struct archive;

struct stream {
    int descriptor;
    struct archive *raw; /* plain and xz, else NULL */
    struct gzip *gzip;
    uint64_t size, limit;      /* bytes handed out; at most */
    enum retort_status status; /* of stream_read: the first failure stays */
};

/* More than `limit` bytes are an error of stream_read. Close with stream_close. */
enum retort_status stream_open(struct stream *stream, const char *path, uint64_t limit);
void stream_close(struct stream *stream);

/* The next bytes, borrowed until the next call; *size is 0 at the end, which is where truncated or
 * corrupt data is found at the latest. */
enum retort_status stream_read(struct stream *stream, const void **data, size_t *size);

/* What libarchive says about a failure, as a sentence. */
enum retort_status stream_fail_archive(struct archive *archive);

#endif
