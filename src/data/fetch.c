/* fetch.c - the only user of libcurl and of nettle.
 *
 * Bytes go to FILE.part, which is kept when the connection ends too early, so that the next call
 * asks for the rest only. The checksum is taken of the whole file on the disk, which also covers
 * what an earlier call wrote. A file of the wrong checksum is removed: continuing it would be
 * useless. */
#include "data/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>
#include <nettle/md5.h>
#include <nettle/sha2.h>

#include "base/file.h"

enum { BLOCK = 1 << 18, STALL_SECONDS = 60, CONNECT_SECONDS = 30, NOT_SATISFIABLE = 416 };

struct fetching {
    const struct fetch_file *file;
    const struct fetch_listener *listener;
    char *path, *part, *url;
    int descriptor;       /* of part */
    uint64_t start, done; /* bytes that were there, that are there */
    int error;            /* errno of a write */
    bool too_long;
    CURL *curl;
};

/* ---- checksums ---- */

static void print_hex(const uint8_t *digest, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", digest[i]);
}

struct sums {
    char md5[2 * MD5_DIGEST_SIZE + 1], sha256[2 * SHA256_DIGEST_SIZE + 1];
};

static enum retort_status sum_file(const char *path, struct sums *sums)
{
    static const size_t block = BLOCK;
    uint8_t digest[SHA256_DIGEST_SIZE], *data = malloc(block);
    FILE *stream = fopen(path, "rb");
    struct md5_ctx md5;
    struct sha256_ctx sha256;
    md5_init(&md5);
    sha256_init(&sha256);
    size_t got = 0;
    while (data && stream && (got = fread(data, 1, block, stream)) > 0) {
        md5_update(&md5, got, data);
        sha256_update(&sha256, got, data);
    }
    enum retort_status status = RETORT_OK;
    if (!data)
        status = fail(RETORT_MEMORY, "%s: out of memory", path);
    else if (!stream || ferror(stream))
        status = fail(RETORT_IO, "%s: cannot read: %s", path, strerror(errno));
    if (stream)
        fclose(stream);
    free(data);
    md5_digest(&md5, MD5_DIGEST_SIZE, digest);
    print_hex(digest, MD5_DIGEST_SIZE, sums->md5);
    sha256_digest(&sha256, SHA256_DIGEST_SIZE, digest);
    print_hex(digest, SHA256_DIGEST_SIZE, sums->sha256);
    return status;
}

/* RETORT_FORMAT when a checksum is not the published one. */
static enum retort_status verify(const struct fetch_file *file, const char *path)
{
    struct sums sums;
    TRY(sum_file(path, &sums));
    if (file->sha256 && strcmp(sums.sha256, file->sha256) != 0)
        return fail(RETORT_FORMAT, "%s: SHA-256 %s found, %s wanted", path, sums.sha256,
                    file->sha256);
    if (file->md5 && strcmp(sums.md5, file->md5) != 0)
        return fail(RETORT_FORMAT, "%s: MD5 %s found, %s wanted", path, sums.md5, file->md5);
    return RETORT_OK;
}

/* ---- the transfer ---- */

static void tell(const struct fetching *fetching)
{
    if (fetching->listener->progress)
        fetching->listener->progress(fetching->listener->context, fetching->file->name,
                                     fetching->done, fetching->file->bytes);
}

static size_t take_bytes(char *data, size_t one, size_t size, void *context)
{
    struct fetching *fetching = context;
    uint64_t most = fetching->file->bytes;
    if (most > 0 && fetching->done + size > most) {
        fetching->too_long = true;
        return CURL_WRITEFUNC_ERROR;
    }
    for (size_t used = 0; used < size;) {
        ssize_t written = write(fetching->descriptor, data + used, size - used);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            fetching->error = errno;
            return CURL_WRITEFUNC_ERROR;
        }
        used += (size_t)written;
        fetching->done += (uint64_t)written;
    }
    tell(fetching);
    return size;
}

static enum retort_status start_over(struct fetching *fetching)
{
    if (ftruncate(fetching->descriptor, 0) || lseek(fetching->descriptor, 0, SEEK_SET))
        return fail(RETORT_IO, "%s: cannot empty: %s", fetching->part, strerror(errno));
    fetching->start = fetching->done = 0;
    return RETORT_OK;
}

static CURLcode transfer(struct fetching *fetching, char *sentence)
{
    CURL *curl = fetching->curl;
    sentence[0] = '\0';
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, fetching->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)fetching->start);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetching);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, sentence);
    return curl_easy_perform(curl);
}

/* The rest cannot be had: the server does not do that, or has a shorter file. */
static bool must_start_over(const struct fetching *fetching, CURLcode code)
{
    long response = 0;
    curl_easy_getinfo(fetching->curl, CURLINFO_RESPONSE_CODE, &response);
    return fetching->start > 0 && fetching->done == fetching->start &&
           (code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME ||
            response == NOT_SATISFIABLE);
}

static enum retort_status fail_transfer(struct fetching *fetching, CURLcode code,
                                        const char *sentence)
{
    if (fetching->too_long) {
        TRY(start_over(fetching));
        return fail(RETORT_FORMAT, "%s: more than the %llu bytes found that were wanted",
                    fetching->url, (unsigned long long)fetching->file->bytes);
    }
    if (fetching->error)
        return fail(RETORT_IO, "%s: cannot write: %s", fetching->part, strerror(fetching->error));
    if (fetching->done > 0)
        return fail(RETORT_IO, "%s: ended after %llu bytes (%s); the same command goes on there",
                    fetching->url, (unsigned long long)fetching->done,
                    sentence[0] ? sentence : curl_easy_strerror(code));
    return fail(RETORT_IO, "%s: %s", fetching->url,
                sentence[0] ? sentence : curl_easy_strerror(code));
}

/* The server has given all it has, and said how much that is. */
static bool is_all(const struct fetching *fetching)
{
    curl_off_t length = -1;
    curl_easy_getinfo(fetching->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length >= 0;
}

static enum retort_status fail_short(struct fetching *fetching)
{
    const uint64_t done = fetching->done, wanted = fetching->file->bytes;
    if (!is_all(fetching))
        return fail(RETORT_IO, "%s: ended after %llu of %llu bytes; the same command goes on there",
                    fetching->url, (unsigned long long)done, (unsigned long long)wanted);
    TRY(start_over(fetching));
    return fail(RETORT_FORMAT, "%s: %llu bytes found, %llu wanted: not the file that was published",
                fetching->url, (unsigned long long)done, (unsigned long long)wanted);
}

static enum retort_status load(struct fetching *fetching)
{
    char sentence[CURL_ERROR_SIZE];
    if (fetching->file->bytes > 0 && fetching->start == fetching->file->bytes)
        return RETORT_OK;
    CURLcode code = transfer(fetching, sentence);
    if (code != CURLE_OK && must_start_over(fetching, code)) {
        TRY(start_over(fetching));
        code = transfer(fetching, sentence);
    }
    if (code != CURLE_OK)
        return fail_transfer(fetching, code, sentence);
    return fetching->file->bytes > fetching->done ? fail_short(fetching) : RETORT_OK;
}

/* ---- the file ---- */

static enum retort_status open_part(struct fetching *fetching)
{
    struct stat info, named;
    fetching->descriptor = open(fetching->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fetching->descriptor < 0 || fstat(fetching->descriptor, &info))
        return fail(RETORT_IO, "%s: cannot open: %s", fetching->part, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return fail(RETORT_IO, "%s: not a regular file", fetching->part);
    if (flock(fetching->descriptor, LOCK_EX | LOCK_NB))
        return fail(RETORT_IO, "%s: another process writes it", fetching->part);
    /* Who held the lock may have given the file its final name: this is another one then. */
    if (stat(fetching->part, &named) || named.st_ino != info.st_ino || named.st_dev != info.st_dev)
        return fail(RETORT_IO, "%s: another process has just written it", fetching->part);
    fetching->start = fetching->done = (uint64_t)info.st_size;
    if (fetching->file->bytes > 0 && fetching->start > fetching->file->bytes)
        return start_over(fetching);
    if (lseek(fetching->descriptor, 0, SEEK_END) < 0)
        return fail(RETORT_IO, "%s: cannot seek: %s", fetching->part, strerror(errno));
    return RETORT_OK;
}

static enum retort_status finish(struct fetching *fetching)
{
    enum retort_status status = verify(fetching->file, fetching->part);
    if (status == RETORT_FORMAT && fetching->start > 0) {
        /* The first bytes are from an earlier call: the file may have changed in between. */
        TRY(start_over(fetching));
        TRY(load(fetching));
        status = verify(fetching->file, fetching->part);
    }
    if (status == RETORT_FORMAT)
        unlink(fetching->part);
    if (status != RETORT_OK)
        return status;
    if (fsync(fetching->descriptor) || rename(fetching->part, fetching->path))
        return fail(RETORT_IO, "%s: cannot write: %s", fetching->path, strerror(errno));
    return RETORT_OK;
}

static enum retort_status fetch(struct fetching *fetching)
{
    if (file_exists(fetching->path)) {
        enum retort_status status = verify(fetching->file, fetching->path);
        return status == RETORT_FORMAT ? fail_in(status, "a file of that name is there") : status;
    }
    TRY(open_part(fetching));
    fetching->curl = curl_easy_init();
    if (!fetching->curl)
        return fail(RETORT_MEMORY, "%s: out of memory", fetching->url);
    TRY(load(fetching));
    return finish(fetching);
}

/* An empty part is of no use to anybody. */
static void close_part(struct fetching *fetching)
{
    if (fetching->descriptor < 0)
        return;
    struct stat info;
    if (fstat(fetching->descriptor, &info) == 0 && info.st_size == 0)
        unlink(fetching->part);
    close(fetching->descriptor);
}

enum retort_status fetch_file(const char *address, const struct fetch_file *file,
                              const char *folder, const struct fetch_listener *listener)
{
    struct fetching fetching = {.file = file, .listener = listener, .descriptor = -1};
    size_t room = strlen(address) + strlen(file->name) + 2;
    enum retort_status status = RETORT_OK;
    fetching.path = file_join(folder, file->name);
    fetching.part = fetching.path ? malloc(strlen(fetching.path) + sizeof(".part")) : NULL;
    fetching.url = malloc(room);
    if (!fetching.part || !fetching.url) {
        status = fail(RETORT_MEMORY, "%s: out of memory", file->name);
    } else {
        bool slash = address[0] && address[strlen(address) - 1] == '/';
        sprintf(fetching.part, "%s.part", fetching.path);
        snprintf(fetching.url, room, "%s%s%s", address, slash ? "" : "/", file->name);
        status = fetch(&fetching);
    }
    curl_easy_cleanup(fetching.curl);
    close_part(&fetching);
    free(fetching.path);
    free(fetching.part);
    free(fetching.url);
    return status;
}
