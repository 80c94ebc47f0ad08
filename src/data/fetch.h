/* fetch.h - files from the network: continued where they were cut, verified, whole or not at all.
 */
#ifndef DATA_FETCH_H
#define DATA_FETCH_H

#include <stdint.h>

#include "base/status.h"

/* A file and what was published of it. At least one checksum, in lower-case hexadecimal. */
struct fetch_file {
    const char *name;
    uint64_t bytes; /* 0: not known */
    const char *md5, *sha256;
};

/* Files of a data set at one address. */
struct fetch_source {
    const char *address;        /* "https://host/folder" */
    const char *folder;         /* to put them in, when nothing else is said */
    struct fetch_file files[5]; /* name NULL at the end */
};

struct fetch_listener {
    void (*progress)(void *context, const char *file, uint64_t done, uint64_t total);
    void *context;
};

/* Load ADDRESS/NAME into folder. A file that is there already is verified instead. http, https,
 * and, for mirrors on this machine, file. */
enum retort_status fetch_file(const char *address, const struct fetch_file *file,
                              const char *folder, const struct fetch_listener *listener);

#endif
