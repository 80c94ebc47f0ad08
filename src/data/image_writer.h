/* image_writer.h - where readers put images, one by one and in any order: memory, or a shard's
 * files.
 *
 * A reader announces a part with as many places as it may need, fills places, and gives those that
 * it filled a label. Places without a label vanish when the writer is finished. */
#ifndef DATA_IMAGE_WRITER_H
#define DATA_IMAGE_WRITER_H

#include "base/file.h"
#include "data/dataset.h"
#include "data/image_set.h"

/* Only sets that have validation images of their own begin the last one. */
enum image_part { IMAGE_TRAIN, IMAGE_TEST, IMAGE_VAL, IMAGE_PARTS };

struct image_writer {
    const char *folder; /* of a shard; NULL: memory */
    bool looks;         /* neither: images are looked at and let go */
    const struct dataset_listener *listener;
    long done, total;       /* images that were put, places of all parts so far */
    bool keeps_statistics;  /* the data set has mean and std already */
    struct image_sums sums; /* of the training images */
    struct image_writer_part {
        struct image_set set;    /* labels are -1 where none was given; a shard's has sums and no
                                    pixels, and so has one that is looked at */
        struct image_sums *each; /* of training images that are looked at, one by one */
        struct file_writer file; /* of a shard */
    } parts[IMAGE_PARTS];
};

/* folder: NULL for memory. listener may be NULL; when it says stop, image_writer_put is
 * RETORT_STOPPED. Release with image_writer_release, also after image_writer_finish. */
void image_writer_init(struct image_writer *writer, const char *folder,
                       const struct dataset_listener *listener);
void image_writer_release(struct image_writer *writer);

/* Begin a part of `count` places, each (channels, height, width). In memory, more than 2 GiB are an
 * error that tells of `retort data convert`. */
enum retort_status image_writer_begin(struct image_writer *writer, enum image_part part, int count,
                                      int channels, int height, int width);
enum retort_status image_writer_put(struct image_writer *writer, enum image_part part, int place,
                                    const uint8_t *pixels);
void image_writer_label(struct image_writer *writer, enum image_part part, int place, int label);

/* Add to counts[label] how often each label was given. */
void image_writer_count(const struct image_writer *writer, enum image_part part, int *counts);

/* Replace each label that was given by renamed[label]; a negative one takes it away. */
void image_writer_relabel(struct image_writer *writer, enum image_part part, const int *renamed);

/* Closes the gaps. In memory: fills dataset's train, test, val, mean and std. A shard: writes its
 * files, the description last. dataset->name must be known. */
enum retort_status image_writer_finish(struct image_writer *writer, struct dataset *dataset);

#endif
