/* estimate.h - about how long a run still takes.
 *
 * Stages that have taken steps in this run are reckoned with the measured time of a step, which
 * includes what lies between epochs (validation, saving). Stages that have not begun are reckoned
 * with the time of one whose steps cost the same, else by multiply-accumulates, at the mean speed
 * of this run. That is coarse: networks differ in how fast their multiply-accumulates are done, and
 * what a teachers' cache saves is not known. `--dry-run` measures; this costs nothing. */
#ifndef TRAIN_ESTIMATE_H
#define TRAIN_ESTIMATE_H

#include "train/experiment.h"

struct estimate_stage {
    char part[32];
    int stage;       /* of the part, 0 first */
    double cost;     /* multiply-accumulates of a step */
    double steps;    /* in all epochs */
    double done;     /* of these, also by earlier processes */
    double measured; /* of these, timed here */
    double seconds;  /* that the measured ones took */
};

struct estimate {
    const char *folder;            /* of the run, borrowed: says which parts are done */
    struct estimate_stage *stages; /* in the order in which they are trained */
    int count, now;                /* now: number of the stage in training */
    double last;                   /* when it was last heard of, seconds */
    bool begun;
};

/* Accepts a zeroed struct. */
void estimate_release(struct estimate *estimate);

enum retort_status estimate_add(struct estimate *estimate, const struct estimate_stage *stage);
/* An experiment_visitor that adds the stage; context: a struct estimate with its folder. */
enum retort_status estimate_visit(void *context, const struct part *part, int stage,
                                  const struct training *training, struct trainer *trainer);

/* So many steps of a stage are done at this time (seconds of any clock). Stages before it are taken
 * as done. One that is not known changes nothing. */
void estimate_note(struct estimate *estimate, const char *part, int stage, double done,
                   double time);

/* Seconds that are left; below 0: nothing has been measured yet. */
double estimate_left(const struct estimate *estimate);
/* The share of the run's time that has passed, from 0 to 1. */
double estimate_share(const struct estimate *estimate);

#endif
