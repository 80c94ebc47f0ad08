/* trainer_parts.h - inside trainer.c and trainer_make.c: what a trainer is. */
#ifndef TRAIN_TRAINER_PARTS_H
#define TRAIN_TRAINER_PARTS_H

#include "data/loader.h"
#include "train/step.h"
#include "train/trainer.h"

/* The taps that losses may look at, which student and teachers both have. */
struct taps {
    int count;
    const char **names;
    int *student, *teacher; /* their numbers in the two graphs; all teachers have the same */
};

struct trainer {
    struct trainer_setup setup;
    struct arena arena;
    struct loader *loader;
    struct taps taps;
    struct step_student *students;
    struct step_teacher *teachers;
    struct optimizer *optimizers;
    struct objective_value *values;
    struct train_step step;
    uint64_t *teacher_hashes;
    int unchecked;     /* rows of a cache that was there already which are still to be compared */
    void **workspaces; /* of the students; the first one is the teachers' too */
    float *statistics; /* of the students, from before the step; NULL: no step is skipped */
    int skipped;       /* steps in a row */
};

/* Do networks and data belong together? */
enum retort_status trainer_check(const struct trainer_setup *setup);

/* Everything of a zeroed trainer whose setup is set; what a failure leaves is trainer_destroy's. */
enum retort_status trainer_build(struct trainer *trainer);

#endif
