/* duplicates.h - images of a data set that are equal pixel by pixel. */
#ifndef DATA_DUPLICATES_H
#define DATA_DUPLICATES_H

#include "data/dataset.h"

struct duplicates {
    long within[2], conflicts[2];  /* train, test: equal to an earlier image of the same part; of
                                      these, with another label */
    long shared, shared_conflicts; /* test images equal to a training image */
};

enum retort_status duplicates_count(const struct dataset *dataset, struct duplicates *duplicates);

#endif
