/* lock.h - a file that says that somebody works in its folder.
 *
 * The lock is the process's, not the file's: when the process ends, however it ends, nobody holds
 * it any more. It works between processes of one machine. */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdbool.h>

#include "base/status.h"

struct lock {
    char *path; /* a zeroed struct holds nothing */
    int descriptor;
};

/* taken [out] false: somebody else holds it. */
enum retort_status lock_take(const char *path, struct lock *lock, bool *taken);
/* Removes the file. Accepts a zeroed struct. */
void lock_release(struct lock *lock);

/* Does somebody hold the lock of this name now? A file that is not there: no. */
bool lock_is_held(const char *path);

#endif
