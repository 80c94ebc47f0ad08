/* state.h - where a part of a run stands, on disk: state/current.safetensors in the run's folder.
 *
 * Parameters, running statistics and the optimizer's velocity in plain layout, bit for bit, and in
 * the metadata which part and how many epochs are done. Everything else that a step depends on
 * (order of the images, augmentation, dropout, learning rate) is a function of seed and step, so
 * nothing more has to be kept. */
#ifndef TRAIN_STATE_H
#define TRAIN_STATE_H

#include "train/trainer.h"

/* Save after `epochs` whole epochs of a part. The model is brought up to date on the way. */
enum retort_status state_save(const char *folder, const char *part, int epochs,
                              struct trainer *trainer, struct model *model);

/* If a state of this part is there, read it into the model and velocity (model_velocity) and give
 * its epochs; *epochs = 0 when there is none or it belongs to another part. */
enum retort_status state_load(const char *folder, const char *part, struct model *model,
                              float *const *velocity, int *epochs);

/* The part is done: its state is not needed any more. */
enum retort_status state_remove(const char *folder);

/* Arrays for the velocity of every trained parameter, NULL for the others; one block behind them.
 */
enum retort_status velocity_create(const struct graph *graph, float ***velocity);
/* Accepts NULL. */
void velocity_destroy(float **velocity);

#endif
