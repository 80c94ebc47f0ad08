/* file.h - whole files, in and out.
 *
 * A file that retort writes appears whole or not at all: the bytes go to a temporary name in the
 * same folder, are synced to the disk, and are renamed. A crash leaves the old file untouched. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/status.h"

struct file_bytes {
    unsigned char *data; /* one zero byte beyond `size`, so that text can be read as a string */
    size_t size;
};

/* Read a regular file of at most `limit` bytes. The caller frees bytes->data. */
enum retort_status file_read(const char *path, size_t limit, struct file_bytes *bytes);

/* Replace path by `size` bytes of data. */
enum retort_status file_write(const char *path, const void *data, size_t size);

/* The same for content that is written piece by piece. */
struct file_writer {
    FILE *stream; /* write here, and read again; errors are found by file_commit */
    char *path, *temporary;
};
enum retort_status file_begin(const char *path, struct file_writer *writer);
enum retort_status file_commit(struct file_writer *writer);
/* Drop what was written; does nothing after file_commit. */
void file_abandon(struct file_writer *writer);

/* Make a folder and its parents; an existing folder is fine. */
enum retort_status file_make_folder(const char *path);

/* Give a file another name in the same folder, in place of what has that name, on the disk too. */
enum retort_status file_rename(const char *from, const char *to);

/* Remove what writers that were killed left in a folder. Nobody may be writing there. */
enum retort_status file_sweep(const char *folder);

bool file_exists(const char *path);
bool file_is_folder(const char *path);
/* Remove a file; one that is not there is fine. */
enum retort_status file_remove(const char *path);

/* folder + "/" + name in a new string that the caller frees; NULL when memory is out.
 * A leading "~/" of folder becomes the home folder. */
char *file_join(const char *folder, const char *name);

#endif
