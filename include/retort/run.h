/* run.h - an experiment from recipe to result: teacher, plain student, distilled student,
 * evaluation.
 *
 * Everything is written to one folder, each file whole or not at all:
 *   recipe.yaml           the resolved recipe
 *   teacher-1.safetensors ..., baseline.safetensors, student.safetensors; of earlier generations
 *   generation-1.safetensors ...
 *   metrics.jsonl         one object per epoch and part
 *   events/PART/          the same for TensorBoard; appended to, see doc/formats.md
 *   run.json              the summary
 *   state/                where an interrupted run goes on: current.safetensors and the one before
 *                         it, previous.safetensors; data.json: which images the run began with */
#ifndef RETORT_RUN_H
#define RETORT_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "retort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum retort_progress_kind {
    RETORT_PART_BEGINS, /* part, text: what is trained how */
    RETORT_STEP,        /* after every step */
    RETORT_EPOCH,       /* after every epoch */
    RETORT_PART_ENDS,   /* part, test_top1 */
    RETORT_NOTE,        /* text */
};

struct retort_progress {
    enum retort_progress_kind kind;
    const char *part; /* "teacher-1", "baseline", "generation-1", "student" */
    const char *text;
    int epoch, epochs; /* of all stages of the part, 1 first */
    long step, steps;  /* of this epoch, 1 first */
    double loss;       /* mean of the epoch so far */
    double accuracy;   /* percent of the training images, so far, as augmented */
    double rate;       /* learning rate */
    double images_per_second;
    double waited;    /* percent of the epoch's time so far in which training waited for data */
    double remaining; /* seconds until this part is done, estimated */
    double test_top1; /* percent */
    double
        val_top1; /* with RETORT_EPOCH: percent of the images held out; below 0: there are none */
    /* With RETORT_STEP and RETORT_EPOCH, of all parts that were asked for, about: parts that have
     * not begun are reckoned by multiply-accumulates, at the speed of those that have. */
    double run_remaining; /* seconds; below 0: not known yet */
    double run_share;     /* of the run that is done, from 0 to 1 */
};

/* Called on the caller's thread. Anything but 0 stops the run after this step, whose state is saved
 * (RETORT_STOPPED). */
typedef int retort_listener(void *context, const struct retort_progress *progress);

enum retort_parts {
    RETORT_TEACHERS = 1,
    RETORT_BASELINE = 2,
    RETORT_STUDENT = 4,
    RETORT_ALL_PARTS = 7,
};

struct retort_run_options {
    const char *recipe;           /* path of the recipe */
    const char *const *overrides; /* "key.path=value" */
    int override_count;
    const char *folder; /* NULL: runs/NAME, NAME being the recipe's */
    unsigned parts;     /* of enum retort_parts; 0: all. A part that is not asked for must be there
                           already     when another one needs it */
    bool resume; /* go on with what the folder holds; otherwise a folder with a run is refused */
    bool force;  /* teach also with teachers that know nothing; resume also with another recipe or
                    other data than the run began with */
    double save_minutes;       /* between two states, beside those at the ends of epochs; 0: 5 */
    retort_listener *listener; /* may be NULL */
    void *context;
    bool no_events; /* leave the event files for TensorBoard out */
};

struct retort_model_result {
    char part[32];
    char *network, *path; /* owned by the run result */
    double top1, top5;    /* percent of the test set */
    int64_t parameters, macs, file_bytes;
    double images_per_second; /* inference, in the batches of training */
};

struct retort_run_result {
    char *folder;
    int count; /* teachers, then baseline, then generations and student; those that exist */
    struct retort_model_result *models;
};

/* Do it. Every check of recipe, data and networks comes before any training. result is written when
 * all parts are done; release it with retort_run_release. */
RETORT_API enum retort_status retort_run(const struct retort_run_options *options,
                                         struct retort_run_result *result);
RETORT_API void retort_run_release(struct retort_run_result *result);

#ifdef __cplusplus
}
#endif
#endif
