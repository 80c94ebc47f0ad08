/* duplicates.h - images of a data set that are equal pixel by pixel. */
#ifndef DATA_DUPLICATES_H
#define DATA_DUPLICATES_H

#include "data/dataset.h"

/* Parts in the order of enum image_part: train, test, val. */
enum { DUPLICATES_PARTS = 3 };

struct duplicates {
    /* [p][p]: images of part p equal to an earlier one of it. [p][q], q before p: images of p equal
     * to one of q. conflicts: how many of these have another label than what they equal. */
    long equal[DUPLICATES_PARTS][DUPLICATES_PARTS], conflicts[DUPLICATES_PARTS][DUPLICATES_PARTS];
};

enum retort_status duplicates_count(const struct dataset *dataset, struct duplicates *duplicates);

#endif
