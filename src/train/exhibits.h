/* exhibits.h - what a run keeps for those who look at it: how well each class is told apart, how
 * long training took and on what machine (in run.json), and pictures (exhibits.safetensors): test
 * images with the networks' probabilities, and Gram matrices of teacher and student.
 *
 * Nothing of it has any influence on training. The formats are described in doc/formats.md. */
#ifndef TRAIN_EXHIBITS_H
#define TRAIN_EXHIBITS_H

#include <jansson.h>

#include "train/evaluate.h"
#include "train/experiment.h"
#include "train/metrics.h"

struct exhibits {
    json_t *facts; /* for run_write_summary */
};

/* Evaluate a part's network, and note its accuracy for each class. */
enum retort_status exhibits_evaluate(struct exhibits *exhibits, const struct experiment *experiment,
                                     const char *part, int batch, const struct model *model,
                                     struct evaluation *evaluation);

/* When all parts are done: note times, machine and data. */
enum retort_status exhibits_note_run(struct exhibits *exhibits, const struct experiment *experiment,
                                     const struct metrics *metrics);

/* Write exhibits.safetensors. */
enum retort_status exhibits_write(const struct experiment *experiment,
                                  const struct retort_run_result *result);

/* Accepts a zeroed struct. */
void exhibits_release(struct exhibits *exhibits);

#endif
