/* tree.c - folders are walked, archives swept: once for the names, once for the bytes. */
#include "data/tree.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

static enum retort_status walk_entry(struct tree *tree, const struct walk *walk, const char *path)
{
    struct stat info;
    if (stat(path, &info))
        return fail(RETORT_IO, "%s: cannot inspect: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) {
        TRY(add_folder(tree, path + walk->root, 0));
        return walk_folder(tree, walk, path);
    }
    if (!S_ISREG(info.st_mode))
        return fail(RETORT_IO, "%s: neither a regular file nor a folder", path);
    const struct tree_file file = {.size = (uint64_t)info.st_size};
    return add_file(tree, path + walk->root, file);
}

static enum retort_status check_loop(const struct walk *walk)
{
    if (walk->depth > DEEPEST)
        return fail(RETORT_FORMAT, "%s: folders %d deep found, at most %d wanted", walk->path,
                    walk->depth, DEEPEST);
    for (const struct walk *outer = walk->parent; outer; outer = outer->parent)
        if (outer->device == walk->device && outer->inode == walk->inode)
            return fail(RETORT_FORMAT, "%s: a link that leads back to %s", walk->path, outer->path);
    return RETORT_OK;
}

static enum retort_status walk_folder(struct tree *tree, const struct walk *parent,
                                      const char *path)
{
    struct stat info;
    if (stat(path, &info))
        return fail(RETORT_IO, "%s: cannot inspect: %s", path, strerror(errno));
    const struct walk walk = {.parent = parent,
                              .path = path,
                              .root = parent ? parent->root : strlen(path) + 1,
                              .device = info.st_dev,
                              .inode = info.st_ino,
                              .depth = parent ? parent->depth + 1 : 0};
    TRY(check_loop(&walk));
    DIR *folder = opendir(path);
    if (!folder)
        return fail(RETORT_IO, "%s: cannot open: %s", path, strerror(errno));
    enum retort_status status = RETORT_OK;
    for (struct dirent *entry; status == RETORT_OK && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        char *inner = malloc(strlen(path) + strlen(entry->d_name) + 2);
        if (!inner) {
            status = fail(RETORT_MEMORY, "%s: out of memory", path);
            break;
        }
        sprintf(inner, "%s/%s", path, entry->d_name);
        status = walk_entry(tree, &walk, inner);
        free(inner);
    }
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

static enum retort_status list_archive(struct tree *tree)
{
    struct tar *tar = NULL;
    struct tar_entry entry;
    TRY(tar_open(tree->path, LARGEST_ARCHIVE, &tar));
    enum retort_status status;
    for (int64_t number = 0; (status = tar_next(tar, &entry)) == RETORT_OK; number++) {
        const struct tree_file file = {
            .size = entry.size, .entry = number, .fault = find_fault(entry.kind)};
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

/* Take away a first folder that all names share. */
static void find_root(struct tree *tree)
{
    size_t length = tree->count > 0 ? strcspn(tree->files[0].name, "/") + 1 : 0;
    for (int i = 0; i < tree->count; i++) {
        const struct tree_file *file = &tree->files[i];
        if (file->fault)
            continue;
        if (strlen(file->name) < length + !is_folder(file->name) || file->name[length - 1] != '/' ||
            strncmp(file->name, tree->files[0].name, length) != 0)
            return;
    }
    for (int i = 0; i < tree->count; i++)
        if (!tree->files[i].fault)
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
