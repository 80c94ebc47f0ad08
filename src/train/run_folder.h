/* run_folder.h - the folder of a run: its beginning and its summary. */
#ifndef TRAIN_RUN_FOLDER_H
#define TRAIN_RUN_FOLDER_H

#include <jansson.h>

#include "base/lock.h"
#include "data/dataset.h"
#include "recipe/recipe.h"
#include "retort/run.h"

/* folder/name+suffix; the caller frees it. NULL when memory is out. */
char *run_file(const char *folder, const char *name, const char *suffix);

/* May the run begin there? A folder that holds a run already is refused, unless resume: then its
 * recipe must be this one, and the images those that it began with; RETORT_INVALID tells the
 * differences. Writes nothing. */
enum retort_status run_check_folder(const char *folder, const struct recipe *recipe,
                                    const struct dataset *dataset, bool resume);

/* Make the folder, with its state/. */
enum retort_status run_make_folder(const char *folder);

/* Write recipe.yaml and state/data.json, unless they say the same already; another recipe that is
 * there is kept as recipe.1.yaml, recipe.2.yaml, ... Removes what a killed run left half-written.
 * The folder must be locked. */
enum retort_status run_begin_folder(const char *folder, const struct recipe *recipe,
                                    const struct dataset *dataset);

/* Say that this process works there, until lock_release. RETORT_INVALID: another one does. */
enum retort_status run_lock_folder(const char *folder, struct lock *lock);

/* The result of a part; NULL: there is none. */
const struct retort_model_result *run_find_result(const struct retort_run_result *result,
                                                  const char *part);

/* Write run.json: {"name", "seed", "teachers": [{...}], "baseline": {...}, "generations": [{...}],
 * "student": {...}, "gain", "ratio": {"parameters", "macs"}, "versions"}. gain: top-1 points of
 * student over baseline. generations: the earlier ones, where there are any. more: {"run": {...},
 * "teacher-1": {...}, ...}: what is added to the summary and to its models; NULL: nothing. */
enum retort_status run_write_summary(const char *folder, const struct recipe *recipe,
                                     const struct retort_run_result *result, const json_t *more);

#endif
