/* state.h - where a part of a run stands, on disk: state/current.safetensors in the run's folder,
 * and the one before it as state/previous.safetensors.
 *
 * Parameters, running statistics and the optimizer's velocity of every network in training
 * (adapters included) in plain layout, bit for bit, and in the metadata which part and stage, how
 * many of the stage's epochs are done and, within an epoch, after which step with which means so
 * far. Everything else that a step depends on (order of the images, augmentation, dropout, draws of
 * the ensemble, learning rate) is a function of seed and step, so nothing more has to be kept.
 *
 * A state is written beside the others, whole, and renamed then; a checksum covers all of it. One
 * that is damaged is as good as none: the previous one counts, and training goes the same way from
 * there. */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H

#include "train/trainer.h"

/* Where in a part's training. */
struct state_place {
    int stage, epochs;             /* whole epochs of the stage that are done */
    struct training_report report; /* of the epoch that goes on; step 0: none does */
    bool previous;                 /* state_find: that is the previous state, the current one is
                                      damaged or away */
};

/* Save. Of place, stage, epochs and report count. The trainer's models (`count` of them) are
 * brought up to date on the way. */
enum retort_status state_save(const char *folder, const char *part, const struct state_place *place,
                              struct trainer *trainer, struct model *const *models, int count);

/* Where the part stands: all zero when no state is there or it belongs to another part. Both states
 * damaged, or the only one: RETORT_FORMAT. */
enum retort_status state_find(const char *folder, const char *part, struct state_place *place);

/* Read the state that state_find found into models of that stage and their velocities. */
enum retort_status state_load(const char *folder, const struct state_place *place,
                              struct model *const *models, float **const *velocities, int count);

/* The part is done: its states and the cache of its teachers are not needed any more. */
enum retort_status state_remove(const char *folder);

/* Arrays for the velocity of every trained parameter, NULL for the others; one block behind them.
 */
enum retort_status velocity_create(const struct graph *graph, float ***velocity);
/* Accepts NULL. */
void velocity_destroy(float **velocity);

#endif
