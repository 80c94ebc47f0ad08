/* progress.h - what a run tells while it goes: a live line on a terminal, plain lines otherwise. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stddef.h>

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

/* "1:02:03" or "2:03" into text. */
void progress_time(double seconds, char *text, size_t size);

#endif
