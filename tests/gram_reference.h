/* gram_reference.h - the Gram loss by its formula, in double, on plain maps: slow, and the measure
 * of what is fast (gram.c). */
#ifndef TESTS_GRAM_REFERENCE_H
#define TESTS_GRAM_REFERENCE_H

#include "distill/gram_plan.h"

/* A map (n, c, h, w). */
struct gram_map {
    int c, h, w;
    const double *data;
};

struct gram_problem {
    int n, pair_count;
    const int (*pairs)[2]; /* taps, the earlier one first */
    enum gram_pool pool;
    enum gram_norm norm;
    const struct gram_map *student, *teacher; /* by tap */
};

/* The value. diffs [add]: diffs[tap] gets its gradient by the student's map; NULL: not wanted.
 * RETORT_MEMORY is the only failure. */
enum retort_status gram_reference(const struct gram_problem *problem, double *const *diffs,
                                  double *value);

#endif
