/* gzip.c - inflate, member after member. */
#include "data/gzip.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/memory.h"

enum { BLOCK = 64 * 1024, GZIP_WINDOW = 16 + MAX_WBITS /* zlib: gzip's frame and no other */ };

struct gzip {
    int descriptor;
    z_stream inflate;
    uint64_t taken;      /* bytes of the file that were read */
    bool between, ended; /* a member is over; only zeros may follow */
    unsigned char in[BLOCK], out[BLOCK];
};

enum retort_status gzip_open(int descriptor, struct gzip **gzip)
{
    void *block;
    TRY(memory_zeroed(1, sizeof(struct gzip), &block));
    struct gzip *made = block;
    made->descriptor = descriptor;
    if (inflateInit2(&made->inflate, GZIP_WINDOW) != Z_OK) {
        free(made);
        return fail(RETORT_MEMORY, "out of memory");
    }
    *gzip = made;
    return RETORT_OK;
}

void gzip_close(struct gzip *gzip)
{
    if (!gzip)
        return;
    inflateEnd(&gzip->inflate);
    free(gzip);
}

/* Where in the file the next byte lies. */
static unsigned long long place(const struct gzip *gzip)
{
    return gzip->taken - gzip->inflate.avail_in;
}

/* More of the file, if there is none at hand; avail_in stays 0 at its end. */
static enum retort_status refill(struct gzip *gzip)
{
    ssize_t got;
    if (gzip->inflate.avail_in > 0)
        return RETORT_OK;
    do
        got = read(gzip->descriptor, gzip->in, sizeof(gzip->in));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return fail(RETORT_IO, "cannot read: %s", strerror(errno));
    gzip->taken += (uint64_t)got;
    gzip->inflate.next_in = gzip->in;
    gzip->inflate.avail_in = (uInt)got;
    return RETORT_OK;
}

/* A member is over: another one, zeros, or the end. */
static enum retort_status go_on(struct gzip *gzip)
{
    z_stream *z = &gzip->inflate;
    for (; z->avail_in > 0 && *z->next_in == 0; z->avail_in--, z->next_in++)
        gzip->ended = true;
    if (z->avail_in == 0)
        return RETORT_OK;
    if (gzip->ended || *z->next_in != 0x1f)
        return fail(RETORT_FORMAT, "corrupt: byte %llu, behind the compressed data, is none of it",
                    place(gzip));
    inflateReset(z);
    gzip->between = false;
    return RETORT_OK;
}

static enum retort_status fail_inflate(struct gzip *gzip, int code)
{
    if (code == Z_MEM_ERROR)
        return fail(RETORT_MEMORY, "out of memory");
    return fail(RETORT_FORMAT, "corrupt (%s) at byte %llu",
                gzip->inflate.msg ? gzip->inflate.msg : "no more is known", place(gzip));
}

enum retort_status gzip_read(struct gzip *gzip, const void **data, size_t *size)
{
    z_stream *z = &gzip->inflate;
    *size = 0;
    while (*size == 0) {
        TRY(refill(gzip));
        if (z->avail_in == 0)
            return gzip->between ? RETORT_OK
                                 : fail(RETORT_FORMAT,
                                        "truncated: ends within compressed data, at "
                                        "byte %llu",
                                        place(gzip));
        if (gzip->between) {
            TRY(go_on(gzip));
            continue;
        }
        z->next_out = gzip->out;
        z->avail_out = sizeof(gzip->out);
        const int code = inflate(z, Z_NO_FLUSH);
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
            return fail_inflate(gzip, code);
        gzip->between = code == Z_STREAM_END;
        *size = sizeof(gzip->out) - z->avail_out;
    }
    *data = gzip->out;
    return RETORT_OK;
}
