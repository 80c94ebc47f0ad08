/* tree.h - many files below a folder or in a tar archive: first their names, then their bytes.
 *
 * Both kinds of tree look the same: names relative to the root with "/" between the parts. When all
 * entries of an archive lie in one folder of its root, that is the root. Files whose names begin
 * with a dot are left out, and so are folders of that kind. Folders are files whose names end with
 * "/": an empty one would not be known otherwise. What cannot be read, such as a link that leads
 * nowhere, is listed with its fault; its place tells whether that matters. */
#ifndef DATA_TREE_H
#define DATA_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/status.h"

enum { TREE_LARGEST_FILE = 256 * 1024 * 1024 };

struct tree_file {
    const char *name; /* "train/cat/1.png" */
    uint64_t size;
    int64_t entry;     /* number of the archive's entry */
    const char *fault; /* why it is no file or folder to be read, in words; else NULL */
    bool hides;        /* the fault: what the set would hold there, or where, is not known */
};

struct tree {
    const char *path;
    bool is_folder;
    int count;
    struct tree_file *files; /* sorted by name */
    struct arena names;
};

/* Release with tree_release, also after a failure. path must stay. */
enum retort_status tree_list(const char *path, struct tree *tree);
void tree_release(struct tree *tree);

/* "PATH/NAME" or "PATH: NAME", what messages call a file. */
void tree_describe(const struct tree *tree, const char *name, char *text, size_t size);

/* Read the files that are wanted, in the tree's own order, and hand over the bytes of each, which
 * the visitor borrows. The visitor's failure ends it. A file that cannot be read is given to
 * `broken`, with its status and sentence, which decides whether that is a failure. */
struct tree_visitor {
    bool (*wants)(void *context, int file);
    enum retort_status (*take)(void *context, int file, const struct file_bytes *bytes);
    enum retort_status (*broken)(void *context, enum retort_status status);
    void *context;
};
enum retort_status tree_visit(const struct tree *tree, const struct tree_visitor *visitor);

#endif
