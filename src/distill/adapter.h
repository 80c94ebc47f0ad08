/* adapter.h - 1x1 convolutions that bring a student's taps up to a teacher's channels.
 *
 * Where a student's tap has other channels than the teacher's, a 1x1 convolution without bias and a
 * batch norm stand between the tap and the losses (Romero et al. 2015 call it a regressor). They
 * are trained with the student and are no part of it: they live in a second graph, the student's
 * with nodes "adapter.TAP.conv" and "adapter.TAP.bn" added and the tap moved behind them, so that
 * whatever trains a network trains them too. */
#ifndef DISTILL_ADAPTER_H
#define DISTILL_ADAPTER_H

#include "nn/model.h"

struct adapter {
    const char *tap; /* of the student */
    int channels;    /* wanted behind it */
};

/* A model of the student's graph with adapters: the student's numbers, adapters drawn from the
 * seed. `earlier` (may be NULL): a model made here before, whose adapters of the same name and
 * shape are taken over. The student is copied. */
enum retort_status adapter_attach(const struct model *student, const struct adapter *adapters,
                                  int count, uint64_t seed, const struct model *earlier,
                                  struct model *extended);

/* The student's numbers back from the extended model. */
void adapter_detach(const struct model *extended, struct model *student);

/* Is this parameter an adapter's? */
bool adapter_owns(const struct parameter *parameter);

#endif
