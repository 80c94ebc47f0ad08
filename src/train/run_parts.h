/* run_parts.h - inside run.c and run_train.c: a run that is going on. */
#ifndef TRAIN_RUN_PARTS_H
#define TRAIN_RUN_PARTS_H

#include "base/lock.h"
#include "retort/run.h"
#include "train/estimate.h"
#include "train/events.h"
#include "train/exhibits.h"
#include "train/experiment.h"
#include "train/metrics.h"

struct run {
    const struct retort_run_options *options;
    struct experiment experiment;
    struct metrics metrics;
    struct events events;
    struct estimate estimate;
    struct exhibits exhibits;
    struct lock lock;
    struct retort_run_result result;
};

/* Tell the listener; RETORT_STOPPED when it wants the run to end. */
enum retort_status run_tell(const struct run *run, const struct retort_progress *progress);

/* Train a part's new network through all stages, from where a saved state ends. */
enum retort_status run_train_model(struct run *run, const struct part *part, struct model *model);

#endif
