/* progress.h - what a run tells while it goes: two live lines on a terminal, plain lines otherwise.
 *
 * Live lines are a bar of the epoch and a bar of the whole run, each with the time that is left,
 * no wider than the terminal. They are colourless where NO_COLOR is set. A terminal that says that
 * it is dumb gets plain lines. Plain lines are one for each epoch, without control characters. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "retort/run.h"

struct progress {
    bool live, colour, quiet;
    bool shown;   /* live lines are on the screen, the cursor is behind them */
    double drawn; /* when they were last drawn, seconds */
};

/* Find out about stderr. */
void progress_begin(struct progress *progress, bool quiet);
/* A retort_listener; context: a struct progress. */
int progress_listen(void *context, const struct retort_progress *event);
/* Leave no half-drawn line behind. */
void progress_end(struct progress *progress);

/* "1:02:03" or "2:03" into text. */
void progress_time(double seconds, char *text, size_t size);

#endif
