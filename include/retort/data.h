/* data.h - data sets: what there is, what is in them, fetching, checking, converting.
 *
 * A data set is called by a specification, "name[:path]": "fashion-mnist", "cifar100:DIR",
 * "folder:DIR". */
#ifndef RETORT_DATA_H
#define RETORT_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "retort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { RETORT_DATA_CHANNELS = 4 };

struct retort_data_format {
    const char *name, *help;
    const char *default_path; /* NULL: a path must be given */
    bool can_fetch;           /* retort_data_fetch knows where it is */
    const char *fetch_folder; /* and puts it here, when nothing else is said; else NULL */
};

/* The format of number `index` from 0 on; false when there are not so many. */
RETORT_API bool retort_data_format(int index, struct retort_data_format *format);

struct retort_data_options {
    int size;        /* height and width, for formats of images of any size; 0: their default */
    double held_out; /* share of each class that becomes the test set, for folders without one; 0:
                        0.1 */
    bool skip_bad; /* leave out records that cannot be used, and list them; else they are errors */
    /* retort_data_convert calls it now and then: images that were written, of how many. False stops
     * it, which is RETORT_STOPPED. NULL: not. */
    bool (*progress)(void *context, long done, long total);
    void *context;
};

struct retort_data_info {
    char *name;
    int classes;
    char **class_names;
    int shape[3];          /* channels, height, width */
    long train, test, val; /* images; val: 0 unless the set has validation images of its own */
    int train_per_class[2], test_per_class[2]; /* the fewest and the most images of a class */
    double held_out; /* share of each class that became the test set; 0: it has one of its own */
    int left_out;    /* records that were left out when the set was converted */
    char *remark;    /* what else one should know of how it was read, one sentence; or NULL */
    double mean[RETORT_DATA_CHANNELS],
        std[RETORT_DATA_CHANNELS]; /* of the training images' values / 255, per channel */
    int skipped_count;
    char **skipped; /* a sentence for each record that was left out */
};

RETORT_API enum retort_status retort_data_info(const char *data,
                                               const struct retort_data_options *options,
                                               struct retort_data_info *info);
/* Accepts a zeroed struct. */
RETORT_API void retort_data_info_release(struct retort_data_info *info);

/* Equal images: pixel by pixel, or of sets that are read image by image (folders, ImageNet) by 64
 * bits of a hash. */
struct retort_data_duplicates {
    long train, test; /* images that equal an earlier one of their part */
    long shared;      /* test images that equal a training image */
    /* Of a set with validation images of its own: those that equal an earlier one, a training image
     * and a test image. */
    long val, val_train, val_test;
    /* How many of each have another label than what they equal. */
    long train_conflicts, test_conflicts, shared_conflicts;
    long val_conflicts, val_train_conflicts, val_test_conflicts;
};

/* Read every record. Those that cannot be used are listed in info->skipped, with or without
 * options->skip_bad; damage that does not belong to one record is a failure. Release info. */
RETORT_API enum retort_status retort_data_check(const char *data,
                                                const struct retort_data_options *options,
                                                struct retort_data_info *info,
                                                struct retort_data_duplicates *duplicates);

/* Write the set into a new or empty folder, from where it is mapped into memory instead of being
 * loaded: sets may be larger than memory. Open it as "shard:FOLDER". A conversion that fails or is
 * stopped leaves nothing; one that is killed leaves files that the next one removes. Release info.
 */
RETORT_API enum retort_status retort_data_convert(const char *data,
                                                  const struct retort_data_options *options,
                                                  const char *folder,
                                                  struct retort_data_info *info);

struct retort_data_fetching {
    const char *name;
    const char *folder; /* to put the files in; NULL: where the format looks for them */
    const char *from;   /* an address that has the files, instead of the official one; NULL */
    /* Called now and then: bytes of a file that are there, of how many (0: not known). NULL: not.
     */
    void (*progress)(void *context, const char *file, uint64_t done, uint64_t total);
    void *context;
};

/* Load the files of a data set from the network. What was loaded before an interruption is kept in
 * FILE.part and continued. A file gets its name when it is whole and its checksum is that which was
 * published. */
RETORT_API enum retort_status retort_data_fetch(const struct retort_data_fetching *fetching);

#ifdef __cplusplus
}
#endif
#endif
