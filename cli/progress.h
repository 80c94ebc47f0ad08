/* progress.h - what a run tells while it goes: a live line on a terminal, plain lines otherwise. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "retort/run.h"

struct progress {
    bool terminal, quiet;
    double drawn; /* when the live line was last drawn, seconds */
};

/* Find out about stderr. */
void progress_begin(struct progress *progress, bool quiet);
/* A retort_listener; context: a struct progress. */
int progress_listen(void *context, const struct retort_progress *event);
/* Leave no half-drawn line behind. */
void progress_end(struct progress *progress);

#endif
