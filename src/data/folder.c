/* folder.c - images in folders by class, as they are, of any size.
 *
 *     DIR/train/CLASS/.../FILE   and DIR/val or DIR/test of the same form
 *     DIR/CLASS/.../FILE         one image in ten of each class is the test set
 *
 * With both val and test, val is used: the test set of most such sets has no labels. */
#include "data/format.h"
#include "data/image_tree.h"

enum { DEFAULT_SIZE = 64 };

static enum retort_status assign(struct image_tree *images)
{
    bool has_train = image_tree_has(images, "train/");
    const char *train = has_train ? "train/" : "";
    TRY(image_tree_make_classes(images, train));
    TRY(image_tree_assign(images, train, IMAGE_TRAIN));
    if (has_train && image_tree_has(images, "val/"))
        return image_tree_assign(images, "val/", IMAGE_TEST);
    if (has_train && image_tree_has(images, "test/"))
        return image_tree_assign(images, "test/", IMAGE_TEST);
    return image_tree_hold_out(images);
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
    .help = "train/CLASS/*.jpg or *.png, and val or test (else every tenth image tests); a folder "
            "or a tar archive",
    .any_size = true,
    .read = read_folder,
};
