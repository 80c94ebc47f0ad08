/* dataset.h - image sets: uint8 pixels and labels, in memory or mapped from a shard; knows no
 * network.
 *
 * A format is one file in data/ with a struct dataset_format, and one line in DATASET_FORMATS. */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { DATASET_CHANNELS = 4 };

struct image_set {
    int count;
    int channels, height, width;
    uint8_t *pixels; /* (stored images, channels, height, width): use image_set_view */
    int *labels;     /* (count): 0 .. classes-1 */
    uint32_t *rows;  /* (count): each image's place in pixels; NULL: image i lies at place i */
    size_t mapped;   /* bytes at `pixels` that are mapped from a file; 0: ordinary memory */
    bool shared;     /* pixels belong to another set of the same data set */
    uint64_t *sums;  /* (stored images): hash_bytes of each, where they are known; or NULL */
};

/* Records that were left out because dataset_options.skip_bad allowed it: why, one sentence each.
 */
struct skip_list {
    int count;
    char **sentences;
};

struct dataset {
    char *name; /* "cifar100" */
    int classes;
    char **class_names; /* classes texts, never NULL */
    struct image_set train, test;
    struct image_set val; /* held out of train, if options.val asks for it, or the set's own; may be
                             empty */
    float mean[DATASET_CHANNELS],
        std[DATASET_CHANNELS]; /* of the whole training set's values / 255, before padding and
                                  before `val` and `limit` are applied */
    double held_out; /* share of each class that was taken for the test set; 0: it has one */
    char *remark;    /* what else a user should know of how it was read, one sentence; or NULL */
    struct skip_list skipped;
    int left_out; /* records that were left out when a shard was made of the set */
};

/* Hears of a conversion now and then: images that were written, of how many. False stops it. */
struct dataset_listener {
    bool (*heard)(void *context, long done, long total);
    void *context;
};

struct dataset_options {
    int limit;      /* images per class of the training set, the first ones in file order; 0: all */
    int test_limit; /* the same for the test set */
    int val;        /* training images held out as dataset.val, classes in equal shares, before
                       `limit` is applied, the same ones always; 0: none */
    int size;       /* height and width for formats of images of any size; 0: their default */
    double held_out; /* share of each class that becomes the test set, for formats that may have
                        none; 0: their default */
    bool skip_bad;   /* leave out, and list, records that cannot be used; else they are errors */
    bool looks;  /* of a set that is no shard and read image by image, keep what is to be told of
                    the images, not these: sets of any size. train and test have sums then,
                    and pixels NULL */
    bool verify; /* hold all pixels of a shard against their checksums, which reads them all */
    const struct dataset_listener *listener; /* of dataset_convert; NULL: nobody */
};

struct image_writer;
struct fetch_source;

/* One row per format: it has open, or read. */
struct dataset_format {
    const char *name; /* "cifar100" */
    /* Where Debian, the archive's own name or `retort data fetch` puts it, NULL at the end; the
     * first that is there counts. None: the path must be given. */
    const char *default_paths[4];
    const char *help;
    bool any_size;                     /* options.size may be given */
    bool may_hold_out;                 /* options.held_out may be given */
    const struct fetch_source *source; /* where `retort data fetch` loads it from; NULL: nowhere */
    /* For sets that fit into memory. */
    enum retort_status (*open)(const char *path, const struct dataset_options *options,
                               struct dataset *dataset);
    /* For sets of any size: images go one by one into the writer, classes into dataset. */
    enum retort_status (*read)(const char *path, const struct dataset_options *options,
                               struct image_writer *writer, struct dataset *dataset);
};
extern const struct dataset_format *const dataset_formats[]; /* NULL at the end */

/* Open "name[:path]": path is a folder, an archive (tar, tar.gz, tar.xz) that is read directly, or
 * a folder that dataset_convert made, which is mapped. A class without images, in either part, is
 * an error, also when options.skip_bad left them out. Messages name the file, what was found and
 * what was wanted. Release with dataset_release. */
enum retort_status dataset_open(const char *specification, const struct dataset_options *options,
                                struct dataset *dataset);
/* Accepts a zeroed struct. */
void dataset_release(struct dataset *dataset);

/* Write the whole set "name[:path]" as a shard (shard.h) into `folder`, image by image, and open
 * that. Of options, size, held_out, skip_bad and listener count; what was skipped is told by
 * dataset. What fails or is stopped leaves nothing; what is killed leaves files that the next
 * attempt removes. */
enum retort_status dataset_convert(const char *specification, const struct dataset_options *options,
                                   const char *folder, struct dataset *dataset);

/* One line, or several, that say how many records were left out and name the first few; false: none
 * were. */
bool dataset_tell_skipped(const struct dataset *dataset, char *text, size_t size);

/* NULL when there is none of that name. */
const struct dataset_format *dataset_find_format(const char *name, size_t length);

#endif
