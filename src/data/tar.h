/* tar.h - the entries of a tar archive, plain or compressed by gzip or xz, in their order.
 *
 * What an archive says about itself is not trusted: entries whose names are absolute or hold ".."
 * are told apart from all others, and links are never followed. Sentences do not name the archive.
 */
#ifndef DATA_TAR_H
#define DATA_TAR_H

#include <stdint.h>

#include "base/file.h"
#include "base/status.h"

enum { TAR_NAME = 4096 };

enum tar_kind {
    TAR_END,  /* no more entries; all checks of the compression were good */
    TAR_FILE, /* a regular file */
    TAR_FOLDER,
    TAR_OTHER,   /* a link, a device */
    TAR_REFUSED, /* its name points out of the archive */
};

struct tar_entry {
    enum tar_kind kind;
    const char *name; /* "set/train.bin": without "./" and doubled slashes; as it stands in the
                         archive when refused. Borrowed until tar_next */
    uint64_t size;
};

struct tar;

/* limit: bytes of the archive at most, without compression. Close with tar_close. */
enum retort_status tar_open(const char *path, uint64_t limit, struct tar **tar);
void tar_close(struct tar *tar);

/* Go to the next entry. */
enum retort_status tar_next(struct tar *tar, struct tar_entry *entry);

/* The bytes of the entry at hand, of which it was said that they are `size`. The caller frees. */
enum retort_status tar_read(struct tar *tar, uint64_t size, struct file_bytes *bytes);

#endif
