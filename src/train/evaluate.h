/* evaluate.h - how good a model is on a data set's test images. */
#ifndef TRAIN_EVALUATE_H
#define TRAIN_EVALUATE_H

#include "data/dataset.h"
#include "nn/model.h"
#include "nn/tensor.h"

struct evaluation {
    long images;
    double top1, top5; /* percent */
    double seconds;    /* of the forward passes alone */
};

/* Run the model, batch norm folded, over the test set as it is (no augmentation), normalised as the
 * model says. With fewer than five classes top5 is 100. A data set of another shape or number of
 * classes is RETORT_INVALID. */
enum retort_status evaluate(const struct model *model, const struct dataset *dataset, int batch,
                            enum precision precision, struct evaluation *result);

/* The same over the images that were held out of the training set; there must be some. */
enum retort_status evaluate_val(const struct model *model, const struct dataset *dataset, int batch,
                                enum precision precision, struct evaluation *result);

/* The same, counted for each class too. counts [add], one for each class of the data set. */
struct class_count {
    long images, right; /* right: by top-1 */
};
enum retort_status evaluate_classes(const struct model *model, const struct dataset *dataset,
                                    int batch, enum precision precision, struct class_count *counts,
                                    struct evaluation *result);

#endif
