/* evaluate.h - how good a model file is on a data set's test images. */
#ifndef RETORT_EVALUATE_H
#define RETORT_EVALUATE_H

#include "retort/data.h"

#ifdef __cplusplus
extern "C" {
#endif

struct retort_evaluation {
    double top1, top5; /* percent; top5 is 100 with five classes or fewer */
    long images;
    int skipped; /* records of the data set, training images included, that were left out */
    double images_per_second;
};

struct retort_evaluation_options {
    struct retort_data_options data; /* as the model was trained with */
    int batch;                       /* 1 or more */
    int threads;                     /* 0: one per core */
};

/* model: path of a model file; data: "name[:path]". RETORT_INVALID where the model takes images of
 * another size or tells other classes apart, by number, name or order. */
RETORT_API enum retort_status retort_evaluate(const char *model, const char *data,
                                              const struct retort_evaluation_options *options,
                                              struct retort_evaluation *result);

#ifdef __cplusplus
}
#endif
#endif
