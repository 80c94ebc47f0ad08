/* tiny.h - a data set of a few made-up images, easy to learn, and networks that fit it: what the
 * tests of training share. 3 classes, 2 channels of 8x8. */
#ifndef TESTS_TINY_H
#define TESTS_TINY_H

#include "data/dataset.h"
#include "nn/model.h"

enum { TINY_CLASSES = 3, TINY_CHANNELS = 2, TINY_SIDE = 8 };

/* Each class brightens a part of its own of a noisy image. Release with dataset_release. */
void tiny_dataset(int train_count, int test_count, struct dataset *dataset);

/* Four IDX files of grey 28x28 images of 10 classes, which "fashion-mnist:FOLDER" opens, in a
 * temporary folder; equal counts give equal files. train_count images, of which each class has a
 * tenth. */
const char *tiny_folder(int train_count, int test_count);

/* conv - bn - relu [early] - conv - bn - relu [late] - dropout - fc, with `width` channels in the
 * taps, initialised from seed. Release with model_release. */
void tiny_model(int width, uint64_t seed, struct model *model);

/* Fail unless two models hold the same numbers, bit for bit. */
void tiny_assert_equal(const struct model *a, const struct model *b);

/* Fail unless two files hold the same bytes. */
void tiny_assert_equal_files(const char *a, const char *b);

/* Fail if a run's folder, which need not be there, holds a file that was not finished. */
void tiny_assert_nothing_half_written(const char *folder);

#endif
