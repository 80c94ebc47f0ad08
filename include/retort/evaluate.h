/* evaluate.h - how good a model file is on a data set's test images. */
#ifndef RETORT_EVALUATE_H
#define RETORT_EVALUATE_H

#include "retort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct retort_evaluation {
    double top1, top5; /* percent; top5 is 100 with five classes or fewer */
    long images;
    double images_per_second;
};

/* model: path of a model file; data: "name[:path]"; batch >= 1; threads 0: one per core. */
RETORT_API enum retort_status retort_evaluate(const char *model, const char *data, int batch,
                                              int threads, struct retort_evaluation *result);

#ifdef __cplusplus
}
#endif
#endif
