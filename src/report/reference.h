/* reference.h - what others have published about a pair of networks, where it is known. */
#ifndef REPORT_REFERENCE_H
#define REPORT_REFERENCE_H

#include <jansson.h>

#include "base/status.h"

/* To the page's data add `references`: [{pair, data, source, figures: [{what, value}], runs}], for
 * the pairs of the page's runs, and which runs these are. Values are top-1 in percent; of "gain",
 * points over the plain student; of "fewer parameters" and "less compute", teacher / student. */
enum retort_status reference_add(json_t *data);

/* For tests: the pair of these networks on this data set, NULL: nothing known. */
const char *reference_find(const char *data, const char *teacher, const char *student);

#endif
