/* state.h - where a part of a run stands, on disk: state/current.safetensors in the run's folder.
 *
 * Parameters, running statistics and the optimizer's velocity of every network in training
 * (adapters included) in plain layout, bit for bit, and in the metadata which part and stage and
 * how many of the stage's epochs are done. Everything else that a step depends on (order of the
 * images, augmentation, dropout, draws of the ensemble, learning rate) is a function of seed and
 * step, so nothing more has to be kept. */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H

#include "train/trainer.h"

/* Save after `epochs` whole epochs of a part's stage. The trainer's models (`count` of them) are
 * brought up to date on the way. */
enum retort_status state_save(const char *folder, const char *part, int stage, int epochs,
                              struct trainer *trainer, struct model *const *models, int count);

/* Where the part stands: *stage and *epochs are 0 when no state is there or it belongs to another
 * part. */
enum retort_status state_find(const char *folder, const char *part, int *stage, int *epochs);

/* Read the state that state_find found into models of that stage and their velocities. */
enum retort_status state_load(const char *folder, struct model *const *models,
                              float **const *velocities, int count);

/* The part is done: its state and the cache of its teachers are not needed any more. */
enum retort_status state_remove(const char *folder);

/* Arrays for the velocity of every trained parameter, NULL for the others; one block behind them.
 */
enum retort_status velocity_create(const struct graph *graph, float ***velocity);
/* Accepts NULL. */
void velocity_destroy(float **velocity);

#endif
