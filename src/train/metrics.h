/* metrics.h - metrics.jsonl: one JSON object per epoch and part of a run.
 *
 * The file is rewritten whole after each epoch (it is small), so a crash never leaves half a line,
 * and a resumed run drops what an epoch that is done again had written. */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include <jansson.h>

#include "train/trainer.h"

struct metrics {
    char *path;
    json_t *lines; /* array */
};

/* resume: begin with the lines that the file holds. */
enum retort_status metrics_open(const char *folder, bool resume, struct metrics *metrics);
/* Accepts a zeroed struct. */
void metrics_release(struct metrics *metrics);

/* Forget a part's lines from epoch `epoch` (1 first) on. */
void metrics_drop(struct metrics *metrics, const char *part, int epoch);
/* Add a line and write the file. stage: 0 first; before: epochs of the stages before it; epochs: of
 * the part; settings: of the losses, NULL for those that take no part. */
enum retort_status metrics_add_epoch(struct metrics *metrics, const char *part, int stage,
                                     int before, int epochs, const void *const settings[LOSS_COUNT],
                                     const struct training_report *report);

/* The last line: the one that was added. Borrowed; NULL when there is none. */
const json_t *metrics_last(const struct metrics *metrics);

#endif
