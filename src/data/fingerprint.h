/* fingerprint.h - is a data set still the one that it was? */
#ifndef DATA_FINGERPRINT_H
#define DATA_FINGERPRINT_H

#include "data/dataset.h"

/* Of names, numbers, labels and pixels; equal ones mean that nothing changed. Of a set that is
 * mapped from a file, which may be larger than memory, the pixels of some 4096 images count. */
uint64_t fingerprint_dataset(const struct dataset *dataset);

#endif
