/* image_tree.h - sets of image files that are sorted into parts and classes by their names: how
 * files become places of an image_writer. */
#ifndef DATA_IMAGE_TREE_H
#define DATA_IMAGE_TREE_H

#include "data/dataset.h"
#include "data/image_writer.h"
#include "data/tree.h"

struct image_tree {
    struct tree tree;
    const struct dataset_options *options;
    struct dataset *dataset;
    struct image_tree_file {
        int part;  /* enum image_part, or -1: not an image of the set */
        int label; /* of an image */
        int place; /* in its part */
    } * files;     /* like tree.files */
};

/* List path; no file is an image yet. Release with image_tree_release, also after a failure. */
enum retort_status image_tree_open(struct image_tree *images, const char *path,
                                   const struct dataset_options *options, struct dataset *dataset);
void image_tree_release(struct image_tree *images);

/* Whether the tree has a file in this folder ("train/"). */
bool image_tree_has(const struct image_tree *images, const char *folder);

/* A file's name below `folder` is "CLASS/.../FILE": the class, of *length bytes. NULL when the file
 * is elsewhere, is no image, or lies in no class. */
const char *image_tree_class(const struct image_tree *images, int file, const char *folder,
                             size_t *length);

/* The index of a name among the data set's classes, which are sorted; -1: none. */
int image_tree_find_class(const struct dataset *dataset, const char *name, size_t length);

/* Make the data set's classes of those that the files in `folder` lie in, sorted. */
enum retort_status image_tree_make_classes(struct image_tree *images, const char *folder);

/* A folder in `folder` that is no class, as it holds no images, is an error. */
enum retort_status image_tree_check_folders(struct image_tree *images, const char *folder);

/* Give every image in `folder` its class; one that lies in no class of the data set is an error. */
enum retort_status image_tree_assign(struct image_tree *images, const char *folder,
                                     enum image_part part);

/* Give the test set this share of the images of each class of the training set, rounded down, but
 * at least one and not all; always the same ones, which are among those of any larger share. */
enum retort_status image_tree_hold_out(struct image_tree *images, double share);

/* Decode all images that were given a part into the writer. A class without training or test images
 * is an error, or with skip_bad it leaves the data set, and the others move up. */
enum retort_status image_tree_decode(struct image_tree *images, int size,
                                     struct image_writer *writer);

#endif
