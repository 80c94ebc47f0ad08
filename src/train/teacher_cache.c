/* teacher_cache.c - one mapped file: a header, then rows (teacher, image, view), each a checksum
 * and `classes` halves. */
#include "train/teacher_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"

enum { HEADER_BYTES = 4096 };

struct header {
    char format[16];
    struct cache_key key;
};

struct teacher_cache {
    struct cache_key key;
    size_t row, bytes;
    char *map, *path;
};

static size_t row_bytes(const struct cache_key *key)
{
    return (sizeof(uint32_t) + (size_t)key->classes * sizeof(_Float16) + 3) / 4 * 4;
}

size_t cache_bytes(const struct cache_key *key)
{
    return HEADER_BYTES +
           row_bytes(key) * (size_t)key->teachers * (size_t)key->images * (size_t)key->views;
}

/* The folder, or the nearest one above it that is there. */
static int find_disk(const char *folder, struct statvfs *disk)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s", folder);
    for (;;) {
        if (statvfs(path[0] ? path : ".", disk) == 0)
            return 0;
        char *slash = strrchr(path, '/');
        if (!path[0] || slash == path)
            return -1;
        *(slash ? slash : path) = '\0';
    }
}

enum retort_status cache_check_room(const char *folder, double bytes)
{
    struct statvfs disk;
    char *there = file_join(folder, "state/teachers.cache");
    if (!there)
        return fail(RETORT_MEMORY, "out of memory");
    const bool known = bytes <= 0 || file_exists(there) || find_disk(folder, &disk);
    free(there);
    if (known)
        return RETORT_OK;
    const double room = (double)disk.f_bavail * (double)disk.f_frsize;
    return room >= bytes
               ? RETORT_OK
               : fail(RETORT_IO, "%s: the teachers' caches need %.0f MB, the disk has %.0f MB left",
                      folder, bytes / 1e6, room / 1e6);
}

static struct header header_of(const struct cache_key *key)
{
    struct header header;
    memset(&header, 0, sizeof(header)); /* padding too: it is compared */
    strcpy(header.format, "retort.cache 1");
    header.key.teachers = key->teachers;
    header.key.images = key->images;
    header.key.views = key->views;
    header.key.classes = key->classes;
    header.key.hash = key->hash;
    return header;
}

/* Is it as large as it should be, for this key? Anything else is begun anew. */
static bool is_ours(int file, const struct cache_key *key)
{
    struct header header = header_of(key), there;
    struct stat info;
    return fstat(file, &info) == 0 && (size_t)info.st_size == cache_bytes(key) &&
           pread(file, &there, sizeof(there), 0) == (ssize_t)sizeof(there) &&
           memcmp(&there, &header, sizeof(header)) == 0;
}

/* Room on the disk is asked for before anything is written: rows go in by way of the mapping, where
 * a full disk would be a signal. */
static enum retort_status begin(int file, const char *path, const struct cache_key *key)
{
    struct header header = header_of(key);
    struct statvfs disk;
    if (ftruncate(file, 0) == 0 && fstatvfs(file, &disk) == 0 &&
        (double)disk.f_bavail * (double)disk.f_frsize < (double)cache_bytes(key))
        return fail(RETORT_IO, "%s: the teacher cache needs %.0f MB, the disk has %.0f MB left",
                    path, (double)cache_bytes(key) / 1e6,
                    (double)disk.f_bavail * (double)disk.f_frsize / 1e6);
    const int error = posix_fallocate(file, 0, (off_t)cache_bytes(key));
    if (error)
        return fail(RETORT_IO, "%s: no room for the teacher cache of %.0f MB: %s", path,
                    (double)cache_bytes(key) / 1e6, strerror(error));
    if (pwrite(file, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
        return fail(RETORT_IO, "%s: cannot write: %s", path, strerror(errno));
    return RETORT_OK;
}

enum retort_status cache_open(const char *path, const struct cache_key *key,
                              struct teacher_cache **cache, bool *found)
{
    struct teacher_cache *made;
    enum retort_status status = RETORT_OK;
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
        return fail(RETORT_IO, "%s: cannot open: %s", path, strerror(errno));
    const bool ours = is_ours(file, key);
    if (!ours)
        status = begin(file, path, key);
    char *name = strdup(path);
    if (status == RETORT_OK && !name)
        status = fail(RETORT_MEMORY, "%s: out of memory", path);
    if (status == RETORT_OK)
        status = memory_zeroed(1, sizeof(*made), (void **)&made);
    if (status == RETORT_OK) {
        *made = (struct teacher_cache){*key, row_bytes(key), cache_bytes(key), NULL, name};
        made->map = mmap(NULL, made->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (made->map == MAP_FAILED) {
            status =
                fail(RETORT_IO, "%s: cannot map %zu bytes: %s", path, made->bytes, strerror(errno));
            free(made);
        }
    }
    close(file);
    if (status != RETORT_OK) {
        free(name);
        if (!ours)
            unlink(path);
        return status;
    }
    *cache = made;
    *found = ours;
    return RETORT_OK;
}

void cache_close(struct teacher_cache *cache)
{
    if (!cache)
        return;
    munmap(cache->map, cache->bytes);
    free(cache->path);
    free(cache);
}

const char *cache_path(const struct teacher_cache *cache)
{
    return cache->path;
}

static char *row_at(const struct teacher_cache *cache, int teacher, int image, int view)
{
    const size_t number =
        ((size_t)teacher * (size_t)cache->key.images + (size_t)image) * (size_t)cache->key.views +
        (size_t)view;
    return cache->map + HEADER_BYTES + number * cache->row;
}

/* Of the halves; never 0, which is what a hole holds. */
static uint32_t checksum(const struct teacher_cache *cache, const char *halves)
{
    const uint64_t hash =
        hash_bytes(HASH_START, halves, (size_t)cache->key.classes * sizeof(_Float16));
    return (uint32_t)(hash ^ hash >> 32) | 1;
}

bool cache_has(const struct teacher_cache *cache, int teacher, int image, int view)
{
    const char *row = row_at(cache, teacher, image, view);
    uint32_t written;
    memcpy(&written, row, sizeof(written));
    return written && written == checksum(cache, row + sizeof(written));
}

void cache_get(const struct teacher_cache *cache, int teacher, int image, int view, float *logits)
{
    const char *halves = row_at(cache, teacher, image, view) + sizeof(uint32_t);
    for (int i = 0; i < cache->key.classes; i++) {
        _Float16 half;
        memcpy(&half, halves + (size_t)i * sizeof(half), sizeof(half));
        logits[i] = (float)half;
    }
}

void cache_put(struct teacher_cache *cache, int teacher, int image, int view, const float *logits)
{
    char *row = row_at(cache, teacher, image, view), *halves = row + sizeof(uint32_t);
    const float most = 65504; /* the largest half */
    for (int i = 0; i < cache->key.classes; i++) {
        const float x = logits[i] > most ? most : logits[i] < -most ? -most : logits[i];
        const _Float16 half = (_Float16)x;
        memcpy(halves + (size_t)i * sizeof(half), &half, sizeof(half));
    }
    const uint32_t sum = checksum(cache, halves);
    memcpy(row, &sum, sizeof(sum));
}
