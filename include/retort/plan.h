/* plan.h - what a run would do and how long it would take, found out without doing it.
 *
 *     struct retort_plan plan;
 *     struct retort_run_options options = {.recipe = "recipes/demo.yaml"};
 *     if (retort_plan(&options, &plan) != RETORT_OK) ...
 *     retort_plan_release(&plan);
 *
 * Everything that retort_run checks before it trains is checked here too; nothing is written. What
 * is wrong with recipe, data or networks is a failure; a folder or teachers that stand in the way
 * are told by `obstacle`, beside the plan. */
#ifndef RETORT_PLAN_H
#define RETORT_PLAN_H

#include "retort/run.h"

#ifdef __cplusplus
extern "C" {
#endif

struct retort_plan_part {
    char part[32];       /* "teacher-1", "baseline", "student" */
    int stage, stages;   /* 1 first; of the part */
    int epochs, batch;   /* of the stage */
    long steps;          /* in an epoch */
    double step_seconds; /* mean of a few steps, run on this machine */
    double seconds; /* of all steps; where a teachers' cache saves them, later epochs as the plain
                       student's; evaluation and saving are not counted */
};

struct retort_plan_pair {
    char *first, *second; /* names of taps */
};

/* A 1x1 convolution + batch norm between a tap of the student and the losses. */
struct retort_plan_adapter {
    char *tap;
    int from, to; /* channels of student and teacher */
};

struct retort_plan {
    char *recipe;            /* resolved, YAML */
    char *folder;            /* where the run would go */
    char *teacher, *student; /* networks or model files, for retort_network_open with: */
    int classes, input[3];   /* teacher NULL: there is none */
    int teacher_count;
    int pair_count; /* of taps that losses compare with each other */
    struct retort_plan_pair *pairs;
    int adapter_count;
    struct retort_plan_adapter *adapters;
    int part_count; /* stages of parts that were asked for and are trained */
    struct retort_plan_part *parts;
    double cache_bytes; /* of the files of what the teachers say; 0: none */
    double seconds;     /* of all parts */
    char *obstacle;     /* why the run would not begin, one sentence; NULL: it would */
};

/* options: as for retort_run; the listener is not called. Takes a few seconds: it loads
 * the data and times a few steps of each part. Release the plan with retort_plan_release. */
RETORT_API enum retort_status retort_plan(const struct retort_run_options *options,
                                          struct retort_plan *plan);
RETORT_API void retort_plan_release(struct retort_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
