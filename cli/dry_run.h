/* dry_run.h - what --dry-run prints. */
#ifndef CLI_DRY_RUN_H
#define CLI_DRY_RUN_H

#include <stdbool.h>

#include "retort/run.h"

/* Print what a run with these options would do; gives the exit code. */
int dry_run(const struct retort_run_options *options, int repeat, bool json);

#endif
