/* dataset.h - image sets in memory: uint8 pixels and labels; knows no network.
 *
 * A format is one file in data/ that fills a struct dataset, and one line in DATASET_FORMATS. */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { DATASET_CHANNELS = 4 };

struct image_set {
    int count;
    int channels, height, width;
    uint8_t *pixels; /* (count, channels, height, width) */
    int *labels;     /* 0 .. classes-1 */
};

struct dataset {
    char *name; /* "cifar100" */
    int classes;
    char **class_names; /* classes texts, never NULL */
    struct image_set train, test;
    float mean[DATASET_CHANNELS],
        std[DATASET_CHANNELS]; /* of the whole training set's values / 255, before
                                  padding and before `limit` is applied */
};

struct dataset_options {
    int limit;      /* images per class of the training set, the first ones in file order; 0: all */
    int test_limit; /* the same for the test set */
};

/* One row per format. */
struct dataset_format {
    const char *name; /* "cifar100" */
    const char
        *default_path; /* where Debian or the archive's own name puts it; NULL: must be given */
    const char *help;
    enum retort_status (*open)(const char *path, struct dataset *dataset);
};
extern const struct dataset_format *const dataset_formats[]; /* NULL at the end */

/* Open "name[:path]": path is a folder or an archive (tar, tar.gz, tar.xz) that is read directly.
 * Messages name the file, what was found and what was wanted. Release with dataset_release. */
enum retort_status dataset_open(const char *specification, const struct dataset_options *options,
                                struct dataset *dataset);
/* Accepts a zeroed struct. */
void dataset_release(struct dataset *dataset);

#endif
