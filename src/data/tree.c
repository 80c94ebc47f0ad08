/* tree.c - folders are walked, archives swept: once for the names, once for the bytes. */
#include "data/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/tar.h"

enum { DEEPEST = 32, MOST_FILES = 64 * 1000 * 1000 };
static const uint64_t LARGEST_ARCHIVE = UINT64_C(1) << 40; /* without compression */

void tree_release(struct tree *tree)
{
    free(tree->files);
    arena_release(&tree->names);
    *tree = (struct tree){0};
}

void tree_describe(const struct tree *tree, const char *name, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s", tree->path, tree->is_folder ? "/" : ": ", name);
}

static enum retort_status add_file(struct tree *tree, const char *name, struct tree_file file)
{
    if (tree->count == MOST_FILES)
        return fail(RETORT_FORMAT, "%s: more than %d files found", tree->path, MOST_FILES);
    if ((tree->count & (tree->count - 1)) == 0) { /* room for the next power of two */
        size_t room = tree->count ? 2 * (size_t)tree->count : 1;
        struct tree_file *grown = realloc(tree->files, room * sizeof(*grown));
        if (!grown)
            return fail(RETORT_MEMORY, "%s: out of memory", tree->path);
        tree->files = grown;
    }
    file.name = arena_text(&tree->names, name);
    if (!file.name)
        return fail(RETORT_MEMORY, "%s: out of memory", tree->path);
    tree->files[tree->count++] = file;
    return RETORT_OK;
}

/* name, and a "/" behind it. */
static enum retort_status add_folder(struct tree *tree, const char *name, int64_t entry)
{
    size_t size = strlen(name) + 2;
    char *longer = malloc(size);
    if (!longer)
        return fail(RETORT_MEMORY, "%s: out of memory", tree->path);
    snprintf(longer, size, "%s/", name);
    enum retort_status status = add_file(tree, longer, (struct tree_file){.entry = entry});
    free(longer);
    return status;
}

static bool is_folder(const char *name)
{
    size_t length = strlen(name);
    return length == 0 || name[length - 1] == '/';
}

/* ---- folders ---- */

/* A folder that is being walked, and those that it lies in: a symbolic link may lead back. */
struct walk {
    const struct walk *parent;
    const char *path; /* whole */
    size_t root;      /* length of the tree's path and a slash */
    dev_t device;
    ino_t inode;
    int depth;
};

static enum retort_status walk_folder(struct tree *tree, const struct walk *parent,
                                      const char *path);

/* Whether a failure of the system belongs to one name, rather than to the process or the disk. */
static bool is_of_name(int error)
{
    return error == EACCES || error == EPERM || error == ENOENT || error == ELOOP ||
           error == ENOTDIR || error == ENAMETOOLONG;
}

static enum retort_status set_fault(struct tree *tree, struct tree_file *file, const char *what,
                                    const char *detail)
{
    char text[512];
    snprintf(text, sizeof(text), "%s%s", what, detail);
    file->fault = arena_text(&tree->names, text);
    return file->fault ? RETORT_OK : fail(RETORT_MEMORY, "%s: out of memory", tree->path);
}

static bool has_suffix(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strchr(slash ? slash : path, '.');
}

static enum retort_status add_faulty(struct tree *tree, const char *name, const char *what,
                                     const char *detail)
{
    struct tree_file file = {.hides = !has_suffix(name)}; /* it may have been a folder */
    TRY(set_fault(tree, &file, what, detail));
    return add_file(tree, name, file);
}

static enum retort_status walk_entry(struct tree *tree, const struct walk *walk, const char *path)
{
    const char *name = path + walk->root;
    struct stat info;
    if (stat(path, &info))
        return is_of_name(errno) ? add_faulty(tree, name, "what leads nowhere: ", strerror(errno))
                                 : fail(RETORT_IO, "%s: cannot inspect: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) {
        TRY(add_folder(tree, name, 0));
        return walk_folder(tree, walk, path);
    }
    if (!S_ISREG(info.st_mode))
        return add_faulty(tree, name, "a pipe, a socket or a device", "");
    const struct tree_file file = {.size = (uint64_t)info.st_size};
    return add_file(tree, name, file);
}

/* The folder, which was added last, is not to be walked: that is an error where it is the root. */
static enum retort_status refuse_folder(struct tree *tree, const struct walk *walk,
                                        const char *what, const char *detail)
{
    if (!walk->parent)
        return fail(RETORT_IO, "%s: cannot open: %s", walk->path, detail);
    struct tree_file *folder = &tree->files[tree->count - 1];
    folder->hides = true;
    return set_fault(tree, folder, what, detail);
}

static const struct walk *find_loop(const struct walk *walk)
{
    for (const struct walk *outer = walk->parent; outer; outer = outer->parent)
        if (outer->device == walk->device && outer->inode == walk->inode)
            return outer;
    return NULL;
}

static enum retort_status walk_entries(struct tree *tree, const struct walk *walk, DIR *folder)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry)
            return errno ? fail(RETORT_IO, "%s: cannot be listed: %s", walk->path, strerror(errno))
                         : RETORT_OK;
        if (entry->d_name[0] == '.')
            continue;
        char *inner = file_join(walk->path, entry->d_name);
        if (!inner)
            return fail(RETORT_MEMORY, "%s: out of memory", walk->path);
        enum retort_status status = walk_entry(tree, walk, inner);
        free(inner);
        TRY(status);
    }
}

static enum retort_status walk_folder(struct tree *tree, const struct walk *parent,
                                      const char *path)
{
    struct stat info;
    if (stat(path, &info))
        return fail(RETORT_IO, "%s: cannot inspect: %s", path, strerror(errno));
    const struct walk walk = {.parent = parent,
                              .path = path,
                              .root =
                                  parent ? parent->root : strlen(path) + (strcmp(path, "/") != 0),
                              .device = info.st_dev,
                              .inode = info.st_ino,
                              .depth = parent ? parent->depth + 1 : 0};
    const struct walk *loop = find_loop(&walk);
    if (loop)
        return refuse_folder(tree, &walk, "a link that leads back to ", loop->path);
    if (walk.depth > DEEPEST)
        return refuse_folder(tree, &walk, "a folder deeper than all that are walked", "");
    DIR *folder = opendir(path);
    if (!folder)
        return is_of_name(errno)
                   ? refuse_folder(tree, &walk, "a folder that cannot be opened: ", strerror(errno))
                   : fail(RETORT_IO, "%s: cannot open: %s", path, strerror(errno));
    enum retort_status status = walk_entries(tree, &walk, folder);
    closedir(folder);
    return status;
}

/* ---- archives ---- */

static bool is_hidden(const char *name)
{
    return name[0] == '.' || strstr(name, "/.");
}

static const char *find_fault(enum tar_kind kind)
{
    if (kind == TAR_FILE)
        return NULL;
    return kind == TAR_REFUSED ? "a name that points out of the archive" : "a link or a device";
}

/* Whether images may be missing for an entry that cannot be read: a link without a suffix may stand
 * for a folder. */
static bool may_hide(const struct tar_entry *entry)
{
    return entry->kind == TAR_REFUSED || (entry->kind == TAR_OTHER && !has_suffix(entry->name));
}

static enum retort_status list_archive(struct tree *tree)
{
    struct tar *tar = NULL;
    struct tar_entry entry;
    TRY(tar_open(tree->path, LARGEST_ARCHIVE, &tar));
    enum retort_status status;
    for (int64_t number = 0; (status = tar_next(tar, &entry)) == RETORT_OK; number++) {
        const struct tree_file file = {.size = entry.size,
                                       .entry = number,
                                       .fault = find_fault(entry.kind),
                                       .hides = may_hide(&entry)};
        if (entry.kind == TAR_END)
            break;
        if (entry.kind != TAR_REFUSED && (is_hidden(entry.name) || !entry.name[0]))
            continue;
        status = entry.kind == TAR_FOLDER ? add_folder(tree, entry.name, number)
                                          : add_file(tree, entry.name, file);
        if (status != RETORT_OK)
            break;
    }
    tar_close(tar);
    return status;
}

/* Take away a first folder that all names share but those whose entries are faulty. */
static void find_root(struct tree *tree)
{
    const char *first = NULL;
    size_t length = 0;
    for (int i = 0; i < tree->count; i++) {
        const struct tree_file *file = &tree->files[i];
        if (file->fault)
            continue;
        if (!first) {
            first = file->name;
            length = strcspn(first, "/") + 1;
        }
        if (strlen(file->name) < length + !is_folder(file->name) || file->name[length - 1] != '/' ||
            strncmp(file->name, first, length) != 0)
            return;
    }
    for (int i = 0; i < tree->count; i++)
        if (!tree->files[i].fault || strncmp(tree->files[i].name, first ? first : "", length) == 0)
            tree->files[i].name += length;
}

static int compare(const void *a, const void *b)
{
    const struct tree_file *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order ? order : (left->entry > right->entry) - (left->entry < right->entry);
}

enum retort_status tree_list(const char *path, struct tree *tree)
{
    enum retort_status status;
    *tree = (struct tree){.path = path, .is_folder = file_is_folder(path)};
    if (tree->is_folder) {
        char *root = strdup(path);
        if (!root)
            return fail(RETORT_MEMORY, "%s: out of memory", path);
        for (size_t end = strlen(root); end > 1 && root[end - 1] == '/'; end--)
            root[end - 1] = '\0';
        status = walk_folder(tree, NULL, root);
        free(root);
    } else {
        status = list_archive(tree);
        if (status != RETORT_OK)
            return fail_in(status, "%s", path);
        find_root(tree);
    }
    if (tree->count > 0)
        qsort(tree->files, (size_t)tree->count, sizeof(*tree->files), compare);
    for (int i = 1; i < tree->count; i++)
        if (strcmp(tree->files[i - 1].name, tree->files[i].name) == 0 &&
            !is_folder(tree->files[i].name))
            tree->files[i].fault = "a second entry of that name";
    return status;
}

/* ---- bytes ---- */

static enum retort_status check_size(const struct tree_file *file, const char *where)
{
    return file->size <= TREE_LARGEST_FILE
               ? RETORT_OK
               : fail(RETORT_FORMAT, "%s: %llu bytes found, at most %d wanted", where,
                      (unsigned long long)file->size, TREE_LARGEST_FILE);
}

static enum retort_status visit_folder(const struct tree *tree, const struct tree_visitor *visitor)
{
    for (int i = 0; i < tree->count; i++) {
        struct file_bytes bytes = {0};
        if (!visitor->wants(visitor->context, i))
            continue;
        char *path = file_join(tree->path, tree->files[i].name);
        if (!path)
            return fail(RETORT_MEMORY, "%s: out of memory", tree->path);
        enum retort_status status = file_read(path, TREE_LARGEST_FILE, &bytes);
        /* A file that may not be read is a bad one; a disk that fails is not. */
        if (status == RETORT_IO && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) && is_of_name(errno))
            status = RETORT_FORMAT;
        free(path);
        status = status == RETORT_OK ? visitor->take(visitor->context, i, &bytes)
                                     : visitor->broken(visitor->context, status);
        free(bytes.data);
        TRY(status);
    }
    return RETORT_OK;
}

/* The entry at hand of an archive, which is file `file`. */
static enum retort_status visit_entry(const struct tree *tree, const struct tree_visitor *visitor,
                                      struct tar *tar, int file)
{
    char where[512];
    struct file_bytes bytes = {0};
    tree_describe(tree, tree->files[file].name, where, sizeof(where));
    enum retort_status status = check_size(&tree->files[file], where);
    if (status != RETORT_OK)
        return visitor->broken(visitor->context, status);
    status = tar_read(tar, tree->files[file].size, &bytes);
    if (status != RETORT_OK)
        return fail_in(status, "%s", where);
    status = visitor->take(visitor->context, file, &bytes);
    free(bytes.data);
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Numbers of entries, ascending, each followed by that of its file. */
static enum retort_status order_entries(const struct tree *tree, int64_t (**order)[2])
{
    void *block;
    TRY(memory_zeroed((size_t)tree->count, sizeof(**order), &block));
    *order = block;
    for (int i = 0; i < tree->count; i++) {
        (*order)[i][0] = tree->files[i].entry;
        (*order)[i][1] = i;
    }
    qsort(*order, (size_t)tree->count, sizeof(**order), compare_entries);
    return RETORT_OK;
}

static enum retort_status sweep(const struct tree *tree, const struct tree_visitor *visitor,
                                struct tar *tar, int64_t (*order)[2])
{
    struct tar_entry entry;
    int next = 0;
    for (int64_t number = 0;; number++) {
        enum retort_status status = tar_next(tar, &entry);
        if (status != RETORT_OK)
            return fail_in(status, "%s", tree->path);
        if (entry.kind == TAR_END)
            return RETORT_OK;
        if (next == tree->count || order[next][0] != number)
            continue;
        int file = (int)order[next++][1];
        if (!visitor->wants(visitor->context, file))
            continue;
        if (entry.kind != TAR_FILE || entry.size != tree->files[file].size)
            return fail(RETORT_FORMAT, "%s: changed while it was read", tree->path);
        TRY(visit_entry(tree, visitor, tar, file));
    }
}

enum retort_status tree_visit(const struct tree *tree, const struct tree_visitor *visitor)
{
    if (tree->is_folder)
        return visit_folder(tree, visitor);
    struct tar *tar = NULL;
    int64_t(*order)[2] = NULL;
    enum retort_status status;
    TRY_DONE(order_entries(tree, &order));
    status = tar_open(tree->path, LARGEST_ARCHIVE, &tar);
    if (status != RETORT_OK)
        status = fail_in(status, "%s", tree->path);
    else
        status = sweep(tree, visitor, tar, order);
done:
    tar_close(tar);
    free(order);
    return status;
}
