/* events.h - event files for TensorBoard: FOLDER/events/PART/events.out.tfevents.TIME.HOST.
 *
 * Each part has a folder of its own, which is what TensorBoard calls a run: teacher, plain and
 * distilled student lie over each other in one chart. Steps are the part's epochs, 1 first. What is
 * written comes from the lines of metrics.jsonl, so both say the same.
 *
 * Files are appended to, as those who follow them expect, event by event: the one thing that retort
 * does not write whole or not at all. A process never appends to a file of another one; a resumed
 * part gets a new file in the same folder, which says from which epoch on it counts. */
#ifndef TRAIN_EVENTS_H
#define TRAIN_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/status.h"

struct events {
    char *folder; /* NULL: nothing is written */
    char *path;   /* of the file that is being written; NULL: there is none yet */
    FILE *stream;
    char part[32];
};

/* folder: of the run; wanted: false: every call below does nothing. Nothing is written yet. */
enum retort_status events_open(const char *folder, bool wanted, struct events *events);
/* Accepts a zeroed struct. */
void events_release(struct events *events);

/* An epoch, as metrics.jsonl has it. To be called when nothing can undo the epoch any more. */
enum retort_status events_add_epoch(struct events *events, const json_t *line);
/* The part's accuracy on the test set, percent, after so many epochs. */
enum retort_status events_add_test(struct events *events, const char *part, int epochs,
                                   double top1);

#endif
