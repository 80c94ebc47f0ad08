/* folder.c - images in folders by class, as they are, of any size.
 *
 *     DIR/train/CLASS/.../FILE   and DIR/val or DIR/test of the same form
 *     DIR/CLASS/.../FILE         a share of each class, held_out, is the test set: one in ten
 *
 * With both val and test, val is to choose by and test to test; but where the images of test lie in
 * no folders of classes, as they have no labels, val is the test set. */
#include "data/format.h"
#include "data/image_file.h"
#include "data/image_tree.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { DEFAULT_SIZE = 64 };
static const double DEFAULT_HELD_OUT = 0.1;

/* Names that people give to parts of a set: no class is called that, at least beside a mistake. */
static bool is_part(const char *name, size_t length)
{
    static const char *const names[] = {"train", "val", "valid", "validation", "test"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i]) == length && strncasecmp(names[i], name, length) == 0)
            return true;
    return false;
}

/* Without a folder "train" the root's folders are classes; where the root is another folder than
 * was meant, the parts of the set would become classes, and test images be trained on. */
static enum retort_status check_root(const struct image_tree *images)
{
    enum { LEVELS = 2 }; /* deeper, names are the user's own */
    const char *path = images->tree.path;
    for (int i = 0; i < images->tree.count; i++) {
        const char *start = images->tree.files[i].name, *name = start, *slash;
        for (int level = 0; level < LEVELS && (slash = strchr(name, '/')); level++) {
            if (!images->tree.files[i].fault && is_part(name, (size_t)(slash - name)))
                return fail(RETORT_FORMAT,
                            "%s: a folder %.*s found, but none named train at the top: "
                            "train/CLASS/FILE wanted, or CLASS/FILE alone",
                            path, (int)(slash - start), start);
            name = slash + 1;
        }
    }
    return RETORT_OK;
}

static bool is_read(const char *name, size_t length)
{
    static const char *const names[] = {"train", "val", "test"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i]) == length && strncmp(names[i], name, length) == 0)
            return true;
    return false;
}

static enum retort_status tell_beside(struct image_tree *images, const char *name, size_t length)
{
    char place[300] = "at the top";
    if (length > 0)
        snprintf(place, sizeof(place), "in %.*s", (int)length, name);
    return dataset_skip(images->dataset, images->options,
                        fail(RETORT_FORMAT,
                             "%s: images found %s, only train, val and test are read",
                             images->tree.path, place));
}

/* Images beside train, at the top or in folders that are not read: with "valid" for "val" a share
 * of the training images would be held out, and nobody told. Once for each place. */
static enum retort_status check_beside(struct image_tree *images)
{
    const char *last = NULL;
    size_t last_length = 0;
    bool told_top = false;
    for (int i = 0; i < images->tree.count; i++) {
        const struct tree_file *file = &images->tree.files[i];
        const bool is_image = image_file_is(file->name) || image_file_is_foreign(file->name);
        const size_t length = strchr(file->name, '/') ? strcspn(file->name, "/") : 0;
        if (file->fault || !is_image || is_read(file->name, length))
            continue;
        if (length == 0 ? told_top
                        : last && length == last_length && strncmp(file->name, last, length) == 0)
            continue;
        TRY(tell_beside(images, file->name, length));
        if (length == 0) {
            told_top = true;
        } else {
            last = file->name;
            last_length = length;
        }
    }
    return RETORT_OK;
}

static enum retort_status check_classes(const struct image_tree *images)
{
    const struct dataset *dataset = images->dataset;
    return dataset->classes > 1
               ? RETORT_OK
               : fail(RETORT_FORMAT, "%s: 1 class %s, \"%s\", at least 2 wanted", images->tree.path,
                      dataset->skipped.count ? "is left" : "found", dataset->class_names[0]);
}

/* The images of a folder of its own are the test set. */
static enum retort_status assign_test(struct image_tree *images, const char *folder)
{
    if (images->options->held_out > 0)
        return fail(RETORT_INVALID, "held_out: %g found, but %s has test images of its own, in %s",
                    images->options->held_out, images->tree.path, folder);
    return image_tree_assign(images, folder, IMAGE_TEST);
}

/* Does any image lie in a folder of one of the classes? */
static bool is_labelled(const struct image_tree *images, const char *folder)
{
    for (int i = 0; i < images->tree.count; i++) {
        size_t length = 0;
        const char *name = image_tree_class(images, i, folder, &length);
        if (name && image_tree_find_class(images->dataset, name, length) >= 0)
            return true;
    }
    return false;
}

static enum retort_status assign(struct image_tree *images)
{
    double share = images->options->held_out;
    bool has_train = image_tree_has(images, "train/");
    const char *train = has_train ? "train/" : "";
    TRY(has_train ? check_beside(images) : check_root(images));
    TRY(image_tree_make_classes(images, train));
    TRY(check_classes(images));
    TRY(image_tree_check_folders(images, train));
    TRY(image_tree_assign(images, train, IMAGE_TRAIN));
    if (has_train && image_tree_has(images, "val/") && image_tree_has(images, "test/")) {
        if (is_labelled(images, "test/")) {
            TRY(image_tree_assign(images, "val/", IMAGE_VAL));
            return assign_test(images, "test/");
        }
        TRY(dataset_set_remark(images->dataset,
                               "the images of val are the test set, those of test have no labels"));
    }
    if (has_train && image_tree_has(images, "val/"))
        return assign_test(images, "val/");
    if (has_train && image_tree_has(images, "test/"))
        return assign_test(images, "test/");
    return image_tree_hold_out(images, share > 0 ? share : DEFAULT_HELD_OUT);
}

static enum retort_status read_folder(const char *path, const struct dataset_options *options,
                                      struct image_writer *writer, struct dataset *dataset)
{
    struct image_tree images;
    enum retort_status status;
    TRY_DONE(image_tree_open(&images, path, options, dataset));
    TRY_DONE(assign(&images));
    TRY_DONE(image_tree_decode(&images, options->size ? options->size : DEFAULT_SIZE, writer));
    TRY_DONE(check_classes(&images)); /* some may have been left out */
done:
    image_tree_release(&images);
    return status;
}

const struct dataset_format dataset_folder = {
    .name = "folder",
    .help = "train/CLASS/*.jpg or *.png, and val, test or both (else one image in ten tests, or "
            "held_out); a folder or a tar archive",
    .any_size = true,
    .may_hold_out = true,
    .read = read_folder,
};
