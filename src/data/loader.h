/* loader.h - batches of an image set: shuffled, augmented, normalised, read ahead by threads.
 *
 * The batches depend on (seed, epoch) only: the same for any number of threads. The augmentation of
 * an image depends on (seed, epoch, index of the image in the set), or, with `views`, on (seed,
 * index, view). Which two images are mixed, and how, depends on the batch that they are in as well,
 * as partners are those of one batch. */
#ifndef DATA_LOADER_H
#define DATA_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "data/dataset.h"

struct loader_options {
    int batch;
    uint64_t seed;
    bool shuffle;
    bool flip;      /* horizontally, with probability 1/2 */
    bool alternate; /* flip in every other epoch instead, beginning as (seed, index) determines */
    int crop; /* pixels of reflected border around the image of which a window of the image's size
                 is cut at random; 0: none. Reflection leaves out the edge pixel (numpy "reflect")
               */
    bool zero_border;     /* the border is black instead */
    double rotation;      /* degrees, at most, to either side */
    int cutout;           /* side of a square that is set to the mean; 0: none */
    double jitter;        /* brightness, contrast, saturation: factors 1 - jitter to 1 + jitter */
    double mixup, cutmix; /* alpha of mix.h, with another image of the batch; 0: none */
    int views; /* 0: an image looks new in every epoch. More: it has only so many augmentations,
                  which V epochs in a row show all of, beginning at one that (seed, index)
                  determines; with flip on, those of odd number are the mirrored ones */
    bool drop_last;          /* leave out the last batch of an epoch when it is not full */
    int threads;             /* that prepare batches ahead; at least 1 */
    const float *mean, *std; /* per channel; NULL: the set's own */
};

struct loader;

/* dataset must outlive the loader. train: which of its two sets. An empty set, or drop_last with
 * fewer images than a batch, is an error that says so. */
enum retort_status loader_create(const struct dataset *dataset, bool train,
                                 const struct loader_options *options, struct loader **loader);
void loader_destroy(struct loader *loader);

/* Batches in an epoch. */
int loader_batches(const struct loader *loader);

/* Begin an epoch (also in the middle: at batch number `batch`); read-ahead starts at once. */
enum retort_status loader_start(struct loader *loader, int epoch, int batch);

struct batch {
    int n; /* images; less than options.batch only in the last one; 0: the epoch is over */
    const float *images; /* (options.batch, c, h, w), normalised; rows from n on are zero */
    const int *labels;   /* (options.batch) */
    const int *indices;  /* (options.batch): of each image in the set */
    const int *views;    /* (options.batch): 0 .. options.views-1; all 0 without views */
    const int *others;   /* (options.batch): labels of what is mixed in; NULL: nothing is */
    const float *shares; /* (options.batch): of the image itself, the rest is the other's; NULL */
};

/* Hand out the next batch of this epoch. It is borrowed until the next call. No allocation. Not
 * thread-safe: one caller. */
enum retort_status loader_next(struct loader *loader, struct batch *batch);

/* Seconds since loader_create in which the caller had to wait: all of loader_start, which makes the
 * order, and in loader_next the time until the batch was ready. */
double loader_waited(const struct loader *loader);

#endif
