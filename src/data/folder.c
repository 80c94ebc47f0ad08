/* folder.c - images in folders by class, as they are, of any size.
 *
 *     DIR/train/CLASS/.../FILE   and DIR/val or DIR/test of the same form
 *     DIR/CLASS/.../FILE         a share of each class, held_out, is the test set: one in ten
 *
 * With both val and test, val is used: the test set of most such sets has no labels. */
#include "data/format.h"
#include "data/image_tree.h"

enum { DEFAULT_SIZE = 64 };
static const double DEFAULT_HELD_OUT = 0.1;

/* The images of a folder of its own are the test set. */
static enum retort_status assign_test(struct image_tree *images, const char *folder)
{
    if (images->options->held_out > 0)
        return fail(RETORT_INVALID, "held_out: %g found, but %s has test images of its own, in %s",
                    images->options->held_out, images->tree.path, folder);
    return image_tree_assign(images, folder, IMAGE_TEST);
}

static enum retort_status assign(struct image_tree *images)
{
    double share = images->options->held_out;
    bool has_train = image_tree_has(images, "train/");
    const char *train = has_train ? "train/" : "";
    TRY(image_tree_make_classes(images, train));
    TRY(image_tree_check_folders(images, train));
    TRY(image_tree_assign(images, train, IMAGE_TRAIN));
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
done:
    image_tree_release(&images);
    return status;
}

const struct dataset_format dataset_folder = {
    .name = "folder",
    .help = "train/CLASS/*.jpg or *.png, and val or test (else one image in ten tests, or "
            "held_out); a folder or a tar archive",
    .any_size = true,
    .may_hold_out = true,
    .read = read_folder,
};
