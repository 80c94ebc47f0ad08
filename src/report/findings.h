/* findings.h - what a page says that no file says: sums, differences, means. */
#ifndef REPORT_FINDINGS_H
#define REPORT_FINDINGS_H

#include <jansson.h>

#include "base/status.h"

/* To a run (run_reader.h) add
 *   models   a list, teachers first: part, and the summary's object
 *   classes  {name, plain, student, change}, the most helped first; where both students have
 *            per_class
 * and to each loss of an epoch its `share`, percent of the weighted sum. */
enum retort_status findings_of_run(json_t *run);

/* The mean over the teachers of a run's summary, percent; NAN: there are none. */
double findings_teachers_top1(const json_t *summary);

/* To the page's data add `groups`: runs of one recipe with several seeds are a group.
 *   {name, runs: [indices], teacher, plain, student, gain: {mean, sd, count}} */
enum retort_status findings_of_groups(json_t *data);

#endif
