/* repeat.h - one experiment with several seeds: what is noise and what is not.
 *
 *     struct retort_repeat_result result;
 *     struct retort_run_options options = {.recipe = "recipes/demo.yaml"};
 *     if (retort_repeat(&options, 3, &result) == RETORT_OK)
 *         printf("%.2f +- %.2f\n", result.student.mean, result.student.sd);
 *     retort_repeat_release(&result);
 *
 * Seeds are 1 .. N, each a run of its own in FOLDER/seed-1 .. FOLDER/seed-N; FOLDER/repeat.json has
 * the summary. Where the recipe gives teacher.seed, all runs have the same teachers, which the
 * first one trains. */
#ifndef RETORT_REPEAT_H
#define RETORT_REPEAT_H

#include "retort/run.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Mean and standard deviation (of the sample; 0 for one) of `count` numbers. */
struct retort_spread {
    int count;
    double mean, sd;
};

struct retort_repeat_result {
    char *folder;
    int count;
    struct retort_run_result *runs;               /* seed 1 first */
    struct retort_spread baseline, student, gain; /* top-1 in percent; count 0: there is none */
};

/* options: as for retort_run; folder is that of all runs. A seed that the recipe gives is replaced.
 * resume goes on wherever the runs stopped. Release with retort_repeat_release. */
RETORT_API enum retort_status retort_repeat(const struct retort_run_options *options, int seeds,
                                            struct retort_repeat_result *result);

/* What that would do: the plan of the first seed, whose folder is that of all. */
struct retort_plan;
RETORT_API enum retort_status retort_repeat_plan(const struct retort_run_options *options,
                                                 struct retort_plan *plan);

RETORT_API void retort_repeat_release(struct retort_repeat_result *result);

#ifdef __cplusplus
}
#endif
#endif
