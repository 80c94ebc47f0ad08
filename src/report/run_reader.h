/* run_reader.h - a run's folder as one JSON object, with whatever of it is there.
 *
 *   folder, name, recipe (text), data (name of the set), state ("done", "running", "stopped")
 *   peers     how many students taught each other, as the recipe says it; "" where it does not
 *   summary   run.json, {} when it is not there
 *   epochs    the lines of metrics.jsonl */
#ifndef REPORT_RUN_READER_H
#define REPORT_RUN_READER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/status.h"

/* Is it a run's folder? What recipe.yaml stands in is one. */
bool run_reader_finds(const char *folder);

/* RETORT_IO: not a run's folder. RETORT_FORMAT: a file in it is not what it should be. */
enum retort_status run_reader_read(const char *folder, json_t **run);

/* A text as JSON; bytes that are no UTF-8 become question marks. NULL: memory is out. */
json_t *run_reader_text(const char *text);

#endif
