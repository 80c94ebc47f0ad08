/* lock.c - flock(2) on an empty file. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool is_still_there(const char *path, int descriptor)
{
    struct stat named, open;
    return stat(path, &named) == 0 && fstat(descriptor, &open) == 0 &&
           named.st_ino == open.st_ino && named.st_dev == open.st_dev;
}

/* Whoever asks whether a lock is held (lock_is_held) holds it for a moment. */
static bool try_lock(int descriptor)
{
    enum { TIMES = 20, PAUSE = 5 * 1000 * 1000 /* nanoseconds */ };
    for (int i = 0;; i++) {
        if (flock(descriptor, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK || i == TIMES)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE}, NULL);
    }
}

enum retort_status lock_take(const char *path, struct lock *lock, bool *taken)
{
    char *name = strdup(path);
    const int descriptor = name ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (!name)
        return fail(RETORT_MEMORY, "%s: out of memory", path);
    if (descriptor < 0) {
        free(name);
        return fail(RETORT_IO, "%s: cannot create: %s", path, strerror(errno));
    }
    *taken = try_lock(descriptor);
    if (!*taken && errno != EWOULDBLOCK)
        *taken = true; /* a file system without locks: go on without */
    else if (*taken && !is_still_there(path, descriptor)) {
        /* Whoever held it removed the file in between: a lock on that keeps nobody out. */
        close(descriptor);
        free(name);
        return lock_take(path, lock, taken);
    }
    if (*taken) {
        *lock = (struct lock){name, descriptor};
        return RETORT_OK;
    }
    close(descriptor);
    free(name);
    return RETORT_OK;
}

void lock_release(struct lock *lock)
{
    if (!lock->path)
        return;
    unlink(lock->path);
    close(lock->descriptor);
    free(lock->path);
    *lock = (struct lock){0};
}

bool lock_is_held(const char *path)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return false;
    const bool held = flock(descriptor, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
    close(descriptor);
    return held;
}
