/* trainer.h - one network in training: the loop, and all that it needs.
 *
 * A plain network is trained with cross-entropy and no teachers; a student with a stage's losses
 * and frozen teachers. Teachers and student share one workspace: a teacher's maps are gone once the
 * student runs, so the losses keep what they need of them (distill/loss.h). */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "data/dataset.h"
#include "distill/objective.h"
#include "nn/model.h"
#include "recipe/recipe.h"

struct trainer_setup {
    const struct dataset *dataset;
    const struct recipe_data *data;
    const struct recipe_train *train;
    const void *const *losses;    /* settings by enum loss_kind, NULL where a loss takes no part */
    const struct text_list *taps; /* empty: every tap that student and teacher both name */
    int epochs;
    uint64_t seed; /* of shuffling, augmentation and dropout */
    enum precision precision;
    struct model *model;         /* the network that is trained; changed by trainer_store only */
    const struct model *teacher; /* NULL: none */
};

struct trainer;

/* setup is copied; what it points to must outlive the trainer. Fails before anything runs when
 * losses, taps and shapes do not fit. */
enum retort_status trainer_create(const struct trainer_setup *setup, struct trainer **trainer);
/* Accepts NULL. */
void trainer_destroy(struct trainer *trainer);

long trainer_steps(const struct trainer *trainer); /* in an epoch */

/* The pairs of taps that the losses compare: index 0, 1, ...; false: there are no more. names [out]
 * borrowed. */
bool trainer_pair(const struct trainer *trainer, int index, const char *names[2]);

/* What is known after a step or, as means, after an epoch. */
struct training_report {
    int epoch;
    long step, steps;             /* of this epoch */
    struct objective_value value; /* means over the epoch so far */
    double accuracy;              /* percent of training images right so far, as augmented */
    double rate;                  /* learning rate of the last step */
    double seconds, waited;       /* since the epoch began; of it waiting for data */
    long images;
};

/* The share of the time so far in which training waited for data. */
static inline double training_waited_percent(const struct training_report *report)
{
    return report->seconds > 0 ? 100 * report->waited / report->seconds : 0;
}

/* Called after every step; anything but RETORT_OK stops the epoch and is handed on. */
typedef enum retort_status training_listener(void *context, const struct training_report *report);

/* Train one epoch, the first is 0. listener may be NULL. */
enum retort_status trainer_epoch(struct trainer *trainer, int epoch, training_listener *listener,
                                 void *context, struct training_report *report);

/* Write the network's numbers into setup.model. */
enum retort_status trainer_store(struct trainer *trainer);

/* The optimizer's velocity as plain arrays, one per trained parameter of the graph (others NULL),
 * to and from a saved state. The parameters themselves travel in the model. */
enum retort_status trainer_get_velocity(const struct trainer *trainer, float *const *plain);
enum retort_status trainer_set_velocity(struct trainer *trainer, float *const *plain);

/* Has nothing written to the teacher's weights since trainer_create? True without a teacher. */
bool trainer_teacher_intact(const struct trainer *trainer);

#endif
