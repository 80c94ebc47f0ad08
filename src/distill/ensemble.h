/* ensemble.h - which of several frozen teachers teach in a step, and with what shares.
 *
 * rule            shares of the N teachers in a step
 *   random-k        1/k for k of them, drawn without replacement
 *   mean            1/N each
 *   random-weights  convex weights drawn anew: uniform numbers divided by their sum, or
 * Dirichlet(1) mean-logits     1/N each, and what is averaged is the logits
 *
 * For all but mean-logits the mean of the probabilities teaches; the mean of the KL losses gives
 * the student the same gradient, the mean of the logits does not. Whose maps are looked at is a
 * choice of its own, since channels of two teachers do not correspond. Draws depend on (seed, step)
 * only. */
#ifndef DISTILL_ENSEMBLE_H
#define DISTILL_ENSEMBLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/settings.h"

enum ensemble_rule {
    ENSEMBLE_RANDOM_K,
    ENSEMBLE_MEAN,
    ENSEMBLE_RANDOM_WEIGHTS,
    ENSEMBLE_MEAN_LOGITS
};
enum ensemble_gram { ENSEMBLE_GRAM_FIRST, ENSEMBLE_GRAM_RANDOM, ENSEMBLE_GRAM_MEAN };

struct ensemble {
    int rule;         /* enum ensemble_rule */
    int k;            /* random-k; all when there are fewer */
    int weights;      /* random-weights: 0 uniform, 1 Dirichlet(1) */
    int gram_teacher; /* enum ensemble_gram: the first one, one of the step's, all of the step's */
};
extern const struct setting_table ensemble_settings;

/* A teacher that has to be run in this step. */
struct ensemble_member {
    int teacher;  /* number, 0 first */
    double share; /* of its logits; the shares of a step sum to 1; 0: only its maps are wanted */
    bool maps;    /* its maps are looked at */
};

/* Who teaches in step `step`: members [out] has room for `teachers`; gives how many there are, in
 * ascending order. maps: is anything but logits looked at? */
int ensemble_draw(const struct ensemble *ensemble, int teachers, bool maps, uint64_t seed,
                  uint32_t step, struct ensemble_member *members);

/* May a step have maps of more than one teacher? */
bool ensemble_many_maps(const struct ensemble *ensemble, int teachers);

#endif
