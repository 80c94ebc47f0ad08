/* gram_plan.h - which Gram matrices are formed, from which maps, and where they lie.
 *
 * A tap is needed in one or more sizes: its own, and pooled ones. Each is a level; a pooled level
 * is made from the smallest level of that tap that is larger and divides, so windows of 4 x 4 cost
 * what windows of 2 x 2 on a pooled map cost. Pairs that meet at a size where there are few
 * positions and many channels form no matrices at all, see gram_positions.h. Everything is decided
 * and checked here, once. */
#ifndef DISTILL_GRAM_PLAN_H
#define DISTILL_GRAM_PLAN_H

#include "distill/gram_kernel.h"
#include "distill/loss.h"

enum gram_norm { GRAM_MEAN, GRAM_SSKD, GRAM_FROBENIUS };

struct gram_settings {
    struct loss_weight weight;
    struct text_list pairs;
    int pool; /* enum gram_pool */
    int norm; /* enum gram_norm */
};

/* One tap of one network at one size. Its panels lie in scratch, in floats from the start. */
struct gram_level {
    int tap;
    int parent;                /* the level that it is pooled from, -1: this is the map itself */
    struct gram_window window; /* kh == kw == 1: the map itself */
    size_t values, chosen, diff;
    bool by_positions; /* its pairs form no matrices; then: */
    size_t kept;       /* place of the teacher's panel in what is kept of an image */
    size_t gap, dots;  /* student: place of student minus teacher, and of five matrices */
    bool opens_parent; /* its gradient is the first that reaches the parent's panel */
};

/* A network's levels: those of a tap stand together, the larger before the smaller. */
struct gram_side {
    int level_count;
    struct gram_level *levels;
    size_t scratch; /* floats */
};

struct gram_pair {
    int taps[2];                /* the earlier one gives the rows */
    int student[2], teacher[2]; /* their levels */
    bool opens[2];              /* student: the first gradient that reaches the level's panel */
    int positions;
    bool by_positions;
    size_t matrix, matrix_floats; /* else: place in what is kept of an image, size */
    double value_factor;          /* times the sum of squares over the batch: the value */
    double diff_factor; /* times student minus teacher: gradient of the value by the matrix */
};

struct gram_plan {
    int n, tap_count, pair_count;
    struct gram_pair *pairs; /* sorted by taps */
    struct gram_side student, teacher;
    size_t kept;           /* floats of what is kept of an image of the teacher's */
    size_t largest_matrix; /* floats */
    size_t largest_pairs;  /* what a pair's products need packed (gram_kernel.h), 4 bytes each */
    bool by_positions;     /* some pairs are */
    struct arena arena;    /* owns all of it */
};

/* plan is zeroed before; release it also after a failure. */
enum retort_status gram_plan_make(const struct gram_settings *settings,
                                  const struct loss_shapes *shapes, struct gram_plan *plan);
void gram_plan_release(struct gram_plan *plan);

bool gram_plan_uses(const struct gram_plan *plan, int tap);

#endif
