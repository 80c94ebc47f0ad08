/* fit.h - whether a network and a data set belong together. */
#ifndef TRAIN_FIT_H
#define TRAIN_FIT_H

#include "data/dataset.h"
#include "nn/model.h"

/* RETORT_INVALID unless the network takes images of this size and tells these many classes apart.
 */
enum retort_status fit_shapes(const struct graph *graph, const struct dataset *dataset);

/* RETORT_INVALID unless the model's classes are called what the data set's are, in the same order.
 * A model without names fits any. Shapes must fit. */
enum retort_status fit_classes(const struct model *model, const struct dataset *dataset);

/* RETORT_INVALID unless the model's images are normalised as the data set's are, for use beside
 * another network that gets the same images. Shapes must fit. */
enum retort_status fit_normalisation(const struct model *model, const struct dataset *dataset);

#endif
