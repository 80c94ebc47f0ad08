/* image_tree.c - files by name to places by part and class. */
#include "data/image_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "data/format.h"
#include "data/image_file.h"

enum { CHANNELS = 3, OTHER = -1, MOST_CLASSES = 100000 };

enum retort_status image_tree_open(struct image_tree *images, const char *path,
                                   const struct dataset_options *options, struct dataset *dataset)
{
    *images = (struct image_tree){.options = options, .dataset = dataset};
    TRY(tree_list(path, &images->tree));
    void *block;
    TRY(memory_zeroed((size_t)images->tree.count, sizeof(*images->files), &block));
    images->files = block;
    for (int i = 0; i < images->tree.count; i++)
        images->files[i].part = OTHER;
    return RETORT_OK;
}

void image_tree_release(struct image_tree *images)
{
    tree_release(&images->tree);
    free(images->files);
    *images = (struct image_tree){0};
}

/* The rest of a file's name behind the folder, or NULL. */
static const char *name_below(const struct image_tree *images, int file, const char *folder)
{
    const char *name = images->tree.files[file].name;
    size_t length = strlen(folder);
    return strncmp(name, folder, length) == 0 ? name + length : NULL;
}

bool image_tree_has(const struct image_tree *images, const char *folder)
{
    for (int i = 0; i < images->tree.count; i++)
        if (name_below(images, i, folder))
            return true;
    return false;
}

const char *image_tree_class(const struct image_tree *images, int file, const char *folder,
                             size_t *length)
{
    const char *name = name_below(images, file, folder);
    const char *slash = name ? strchr(name, '/') : NULL;
    if (!slash || slash == name || !image_file_is(name))
        return NULL;
    *length = (size_t)(slash - name);
    return name;
}

int image_tree_find_class(const struct dataset *dataset, const char *name, size_t length)
{
    int low = 0, high = dataset->classes;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const char *candidate = dataset->class_names[middle];
        int order = strncmp(name, candidate, length);
        if (order == 0 && candidate[length])
            order = -1;
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return OTHER;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum retort_status name_class(struct image_tree *images, int label, const char *name,
                                     size_t length)
{
    const enum retort_status status = dataset_name_class(images->dataset, label, name, length);
    return status == RETORT_FORMAT ? fail_in(status, "%s", images->tree.path) : status;
}

/* Names are sorted as wholes, so "cat-1/x" stands before "cat/x": equal classes follow each other,
 * but their order is not yet that of the classes' names. */
enum retort_status image_tree_make_classes(struct image_tree *images, const char *folder)
{
    struct dataset *dataset = images->dataset;
    const char *last = NULL;
    size_t last_length = 0, length;
    int count = 0;
    for (int round = 0; round < 2; round++) {
        if (round == 1)
            TRY(dataset_make_classes(dataset, count));
        count = 0;
        last = NULL;
        for (int i = 0; i < images->tree.count; i++) {
            const char *name = image_tree_class(images, i, folder, &length);
            if (!name || images->tree.files[i].fault ||
                (last && length == last_length && memcmp(name, last, length) == 0))
                continue;
            if (round == 1)
                TRY(name_class(images, count, name, length));
            count++;
            last = name;
            last_length = length;
        }
        if (count == 0 || count > MOST_CLASSES)
            return fail(RETORT_FORMAT,
                        "%s: %s%d classes found, 1 to %d wanted, each a folder of .jpg, .jpeg or "
                        ".png files",
                        images->tree.path, folder[0] ? "train: " : "", count, MOST_CLASSES);
    }
    qsort(dataset->class_names, (size_t)count, sizeof(char *), compare_names);
    return RETORT_OK;
}

static enum retort_status skip(struct image_tree *images, enum retort_status status)
{
    return dataset_skip(images->dataset, images->options, status);
}

enum retort_status image_tree_check_folders(struct image_tree *images, const char *folder)
{
    const char *last = "";
    size_t last_length = 0;
    for (int i = 0; i < images->tree.count; i++) {
        const char *name = images->tree.files[i].fault ? NULL : name_below(images, i, folder);
        size_t length = name ? strcspn(name, "/") : 0;
        if (length == 0 || !name[length] ||
            image_tree_find_class(images->dataset, name, length) >= 0)
            continue;
        bool told = length == last_length && memcmp(name, last, length) == 0;
        last = name;
        last_length = length;
        if (!told)
            TRY(skip(images,
                     fail(RETORT_FORMAT,
                          "%s: class \"%.*s\": no images found in %s%.*s, .jpg, .jpeg or .png "
                          "wanted",
                          images->tree.path, (int)length, name, folder, (int)length, name)));
    }
    return RETORT_OK;
}

/* ---- parts ---- */

static enum retort_status check_file(const struct image_tree *images, int file, const char *where)
{
    const struct tree_file *found = &images->tree.files[file];
    if (found->fault)
        return fail(RETORT_FORMAT, "%s: %s found, a regular file or folder wanted", where,
                    found->fault);
    return image_file_is_foreign(found->name)
               ? fail(RETORT_FORMAT,
                      "%s: an image of another kind found, .jpg, .jpeg or .png "
                      "wanted",
                      where)
               : RETORT_OK;
}

static enum retort_status assign_file(struct image_tree *images, int file, const char *folder,
                                      enum image_part part)
{
    char where[512];
    size_t length = 0;
    const char *name = image_tree_class(images, file, folder, &length);
    tree_describe(&images->tree, images->tree.files[file].name, where, sizeof(where));
    TRY(check_file(images, file, where));
    if (!name)
        return fail(RETORT_FORMAT, "%s: lies in no folder of a class", where);
    int label = image_tree_find_class(images->dataset, name, length);
    if (label < 0)
        return fail(RETORT_FORMAT, "%s: class \"%.*s\" found, which the training set does not have",
                    where, (int)length, name);
    images->files[file].part = part;
    images->files[file].label = label;
    return RETORT_OK;
}

enum retort_status image_tree_assign(struct image_tree *images, const char *folder,
                                     enum image_part part)
{
    for (int i = 0; i < images->tree.count; i++) {
        const struct tree_file *file = &images->tree.files[i];
        bool is_image = image_file_is(file->name) || image_file_is_foreign(file->name);
        /* Where a bad entry would lie is not known: it is told of once, with the training set. */
        bool concerned = file->fault ? part == IMAGE_TRAIN : name_below(images, i, folder) != NULL;
        if (!concerned || !(is_image || file->hides))
            continue;
        enum retort_status status = assign_file(images, i, folder, part);
        if (status != RETORT_OK)
            TRY(skip(images, status));
    }
    return RETORT_OK;
}

/* Of `members`, the first in an order of its own for each class. */
static void hold_out(struct image_tree *images, int label, int *members, uint32_t *order, int count,
                     double share)
{
    struct random_stream stream = random_stream(0, RANDOM_SPLIT, 1 + (uint32_t)label, 0);
    int taken = (int)(share * count + 1e-6); /* 0.1 is a little less than a tenth */
    taken = taken < 1 ? 1 : taken;
    random_permutation(&stream, (uint32_t)count, order);
    for (int i = 0; i < taken; i++)
        images->files[members[order[i]]].part = IMAGE_TEST;
}

enum retort_status image_tree_hold_out(struct image_tree *images, double share)
{
    void *block;
    size_t room = (size_t)images->tree.count;
    TRY(memory_zeroed(room, sizeof(int) + sizeof(uint32_t), &block));
    int *members = block;
    uint32_t *order = (uint32_t *)(members + room);
    enum retort_status status = RETORT_OK;
    for (int label = 0; label < images->dataset->classes && status == RETORT_OK; label++) {
        int count = 0;
        for (int i = 0; i < images->tree.count; i++)
            if (images->files[i].part == IMAGE_TRAIN && images->files[i].label == label)
                members[count++] = i;
        if (count < 2)
            status = skip(images, fail(RETORT_FORMAT,
                                       "%s: class \"%s\": %d image%s found, at least 2 wanted, one "
                                       "of them to test",
                                       images->tree.path, images->dataset->class_names[label],
                                       count, count == 1 ? "" : "s"));
        else
            hold_out(images, label, members, order, count, share);
    }
    free(block);
    images->dataset->held_out = share;
    return status;
}

/* ---- decoding ---- */

static const char *const part_names[IMAGE_PARTS] = {"training", "test", "validation"};

static enum retort_status fail_empty(const struct image_tree *images, int label, int part)
{
    return fail(RETORT_FORMAT, "%s: class \"%s\": no %s images found", images->tree.path,
                images->dataset->class_names[label], part_names[part]);
}

/* Places by class, and in a class by name: the order of the tree but for the classes. A class
 * without images is known to be an error before anything is decoded. */
static enum retort_status give_places(struct image_tree *images, int counts[IMAGE_PARTS])
{
    int classes = images->dataset->classes;
    void *block;
    TRY(memory_zeroed(IMAGE_PARTS * (size_t)classes, sizeof(int), &block));
    int *next = block;
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < images->tree.count; i++)
        if (images->files[i].part >= 0)
            next[images->files[i].part * classes + images->files[i].label]++;
    for (int part = 0; part < IMAGE_PARTS; part++) {
        counts[part] = 0;
        for (int k = 0; k < classes; k++) {
            int count = next[part * classes + k];
            if (count == 0 && part != IMAGE_VAL && !images->options->skip_bad &&
                status == RETORT_OK)
                status = fail_empty(images, k, part);
            next[part * classes + k] = counts[part];
            counts[part] += count;
        }
    }
    for (int i = 0; i < images->tree.count; i++)
        if (images->files[i].part >= 0)
            images->files[i].place =
                next[images->files[i].part * classes + images->files[i].label]++;
    free(block);
    return status;
}

/* Which classes have images in both parts: keeps[label]. One that has not is an error, or with
 * skip_bad it is left out, with what images it has. counts: (parts, classes). */
static enum retort_status find_classes(struct image_tree *images, const int *counts, bool *keeps)
{
    const struct dataset *dataset = images->dataset;
    for (int k = 0; k < dataset->classes; k++) {
        const int train = counts[k], test = counts[dataset->classes + k],
                  val = counts[2 * dataset->classes + k];
        const int empty = train == 0 ? IMAGE_TRAIN : IMAGE_TEST;
        keeps[k] = train > 0 && test > 0;
        if (!keeps[k])
            TRY(skip(images,
                     fail(RETORT_FORMAT,
                          "%s: class \"%s\": no %s images are left; its %d others go with it",
                          images->tree.path, dataset->class_names[k], part_names[empty],
                          train + test + val)));
    }
    return RETORT_OK;
}

static void drop_classes(struct dataset *dataset, const bool *keeps, struct image_writer *writer,
                         int *renamed)
{
    int kept = 0;
    for (int k = 0; k < dataset->classes; k++) {
        renamed[k] = keeps[k] ? kept : OTHER;
        if (keeps[k])
            dataset->class_names[kept++] = dataset->class_names[k];
        else
            free(dataset->class_names[k]);
    }
    dataset->classes = kept;
    for (int part = 0; part < IMAGE_PARTS; part++)
        image_writer_relabel(writer, part, renamed);
}

/* What was decoded may leave a class without images. */
static enum retort_status check_classes(struct image_tree *images, struct image_writer *writer)
{
    size_t classes = (size_t)images->dataset->classes;
    void *block;
    TRY(memory_zeroed(classes, (1 + IMAGE_PARTS) * sizeof(int) + sizeof(bool), &block));
    int *renamed = block, *counts = renamed + classes;
    bool *keeps = (bool *)(counts + IMAGE_PARTS * classes);
    for (int part = 0; part < IMAGE_PARTS; part++)
        image_writer_count(writer, part, counts + (size_t)part * classes);
    enum retort_status status = find_classes(images, counts, keeps);
    if (status == RETORT_OK)
        drop_classes(images->dataset, keeps, writer, renamed);
    free(block);
    if (status == RETORT_OK && images->dataset->classes == 0)
        return fail(RETORT_FORMAT, "%s: no class is left", images->tree.path);
    return status;
}

struct decoding {
    struct image_tree *images;
    struct image_writer *writer;
    uint8_t *pixels;
    int size;
};

static bool is_image(void *context, int file)
{
    const struct decoding *decoding = context;
    return decoding->images->files[file].part >= 0;
}

static enum retort_status decode_file(void *context, int file, const struct file_bytes *bytes)
{
    struct decoding *decoding = context;
    struct image_tree *images = decoding->images;
    const struct image_tree_file *image = &images->files[file];
    enum retort_status status =
        image_file_decode(bytes->data, bytes->size, decoding->size, decoding->pixels);
    if (status != RETORT_OK) {
        char where[512];
        tree_describe(&images->tree, images->tree.files[file].name, where, sizeof(where));
        return skip(images, fail_in(status, "%s", where));
    }
    TRY(image_writer_put(decoding->writer, image->part, image->place, decoding->pixels));
    image_writer_label(decoding->writer, image->part, image->place, image->label);
    return RETORT_OK;
}

static enum retort_status skip_file(void *context, enum retort_status status)
{
    const struct decoding *decoding = context;
    return skip(decoding->images, status);
}

enum retort_status image_tree_decode(struct image_tree *images, int size,
                                     struct image_writer *writer)
{
    int counts[IMAGE_PARTS];
    TRY(give_places(images, counts));
    for (int part = 0; part < IMAGE_PARTS; part++)
        if (part != IMAGE_VAL || counts[part] > 0)
            TRY(image_writer_begin(writer, part, counts[part], CHANNELS, size, size));
    void *pixels;
    TRY(memory_zeroed((size_t)size * (size_t)size, CHANNELS, &pixels));
    struct decoding decoding = {images, writer, pixels, size};
    const struct tree_visitor visitor = {is_image, decode_file, skip_file, &decoding};
    enum retort_status status = tree_visit(&images->tree, &visitor);
    free(pixels);
    return status == RETORT_OK ? check_classes(images, writer) : status;
}
