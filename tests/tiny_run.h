/* tiny_run.h - a run of seconds: two teachers, the plain student, and a student in two stages with
 * an adapter in both. What it writes depends on nothing but the recipe, so that runs can be
 * compared. */
#ifndef TESTS_TINY_RUN_H
#define TESTS_TINY_RUN_H

#include <stdbool.h>

#include "retort/run.h"

enum { EPOCHS = 2, STEPS = 3, PARTS = 4, TRAIN_IMAGES = 50, TEST_IMAGES = 20, BATCH = 16 };
/* What the listener sees of a whole run: each part begins, ends, and has epochs of steps; and of
 * each teacher it is noted how little it knows. */
enum { EVENTS = PARTS * (2 + EPOCHS * (STEPS + 1)) + 3 };

/* The recipe's path. Makes the images anew, in tiny_folder(TRAIN_IMAGES, TEST_IMAGES). */
const char *tiny_recipe(void);

/* Stops after so many events; 0: never. */
struct tiny_stop {
    int after, seen;
    long steps;   /* of training that the listener saw */
    double share; /* of the run, as it was told last */
};

/* stop may be NULL. */
enum retort_status tiny_run(const char *folder, unsigned parts, bool resume,
                            struct tiny_stop *stop);
/* With one override. */
enum retort_status tiny_run_with(const char *folder, const char *override, bool resume);

/* Run, and be stopped after so many events. Gives the steps that were done. */
long tiny_assert_stopped(const char *folder, bool resume, int after);

/* The folder of the run that nobody stopped, made once. */
const char *tiny_whole_run(void);

/* Equal files, equal summaries but for times, and in `b` each epoch once. */
void tiny_assert_equal_runs(const char *a, const char *b);

#endif
