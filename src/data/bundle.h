/* bundle.h - files that belong together, from a folder or from an archive, whole into memory.
 *
 * A folder gives NAME, or NAME.gz decompressed. An archive is a tar file, plain or compressed by
 * gzip or xz; it is read in one sweep whatever the order of its members. What an archive says about
 * itself is not trusted: a member counts by its base name, in the archive's root or in a folder
 * there; entries with absolute names or ".." are bad records; sizes are held against `limit`. */
#ifndef DATA_BUNDLE_H
#define DATA_BUNDLE_H

#include "base/file.h"
#include "data/dataset.h"

struct bundle_member {
    const char *name;        /* [in] wanted: "train.bin" */
    size_t limit;            /* [in] bytes that it holds at most, decompressed */
    struct file_bytes bytes; /* [out] at least one byte, and a zero byte beyond them */
    char where[512];         /* [out] what messages call it: "folder/train.bin" or
                                "set.tar.gz: train.bin" */
};

/* Read all members, or none; bad entries of an archive are errors, or with options->skip_bad listed
 * in dataset. A member that is missing, empty, held twice, longer than its limit,
 * truncated or corrupt is an error that names path, member, what was found and what was wanted.
 * Release with bundle_release, also before the members are read again. */
enum retort_status bundle_read(const char *path, struct bundle_member *members, int count,
                               const struct dataset_options *options, struct dataset *dataset);

/* Frees the bytes; accepts members that were never read. */
void bundle_release(struct bundle_member *members, int count);

#endif
