/* format.h - the list of data set formats, and what their files share.
 *
 * A format fills the zeroed struct dataset that it is given: classes, class_names, and, when it has
 * open, train, test, mean and std. name, val and limits are dataset_open's work, and so is the
 * release of what a failing open leaves. */
#ifndef DATA_FORMAT_H
#define DATA_FORMAT_H

#include "data/dataset.h"

/* A new format is one line here and a file that defines dataset_<line>. */
#define DATASET_FORMATS(FORMAT)                                                                    \
    FORMAT(fashion_mnist)                                                                          \
    FORMAT(mnist)                                                                                  \
    FORMAT(kmnist)                                                                                 \
    FORMAT(emnist_letters)                                                                         \
    FORMAT(emnist_digits)                                                                          \
    FORMAT(emnist_balanced)                                                                        \
    FORMAT(emnist_byclass)                                                                         \
    FORMAT(emnist_bymerge)                                                                         \
    FORMAT(emnist_mnist)                                                                           \
    FORMAT(cifar10)                                                                                \
    FORMAT(cifar100)                                                                               \
    FORMAT(imagenet64)                                                                             \
    FORMAT(imagenet32)                                                                             \
    FORMAT(imagenet16)                                                                             \
    FORMAT(folder)                                                                                 \
    FORMAT(tiny_imagenet)                                                                          \
    FORMAT(shard)

#define DATASET_DECLARE(format) extern const struct dataset_format dataset_##format;
DATASET_FORMATS(DATASET_DECLARE)

/* Make `classes` empty places for class names in dataset, then fill one with a copy of `length`
 * bytes of text; RETORT_FORMAT unless that is UTF-8 without control characters. */
enum retort_status dataset_make_classes(struct dataset *dataset, int classes);
enum retort_status dataset_name_class(struct dataset *dataset, int label, const char *text,
                                      size_t length);
/* The same, for a name with another place: what is in *name is the caller's in any case. */
enum retort_status dataset_take_name(const char *text, size_t length, char **name);

/* A copy of text becomes dataset->remark. */
enum retort_status dataset_set_remark(struct dataset *dataset, const char *text);

/* What to do about a bad record, whose status and recorded sentence these are: with skip_bad the
 * sentence goes into dataset->skipped and the result is RETORT_OK. Only RETORT_FORMAT is a bad
 * record; all else stays what it is. */
enum retort_status dataset_skip(struct dataset *dataset, const struct dataset_options *options,
                                enum retort_status status);

#endif
