/* trainer.h - one stage of a network's training: the loop, and all that it needs.
 *
 * A plain network is trained with cross-entropy and no teachers; a student with a stage's losses
 * and frozen teachers; students that teach each other are trained together. Teachers and the first
 * student share one workspace: a teacher's maps are gone once the student runs, so the losses keep
 * what they need of them (distill/loss.h). */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "data/dataset.h"
#include "distill/ensemble.h"
#include "distill/objective.h"
#include "nn/model.h"
#include "recipe/recipe.h"

enum { MOST_PEERS = 8 };

struct trainer_setup {
    const struct dataset *dataset;
    const struct recipe_data *data;
    const struct recipe_train *train; /* the stage's: batch, optimizer, schedule */
    const void *const *losses;     /* settings by enum loss_kind, NULL where a loss takes no part */
    const struct text_list *taps;  /* empty: every tap that student and teachers all name */
    const struct text_list *moves; /* what is trained: "all", "student", "adapters", beginnings of
                                      parameter names; NULL: all */
    int epochs;                    /* of the stage */
    int epochs_before;             /* of earlier stages: data, dropout and draws go on from there */
    uint64_t seed; /* of shuffling, augmentation, dropout and the ensemble's draws */
    enum precision precision;
    bool balanced;         /* the teachers' gradient is cut down to the task's norm */
    struct model **models; /* what is trained; several: they teach each other. Changed by
                              trainer_store only */
    int model_count;
    const struct model *const *teachers; /* frozen */
    int teacher_count;
    const struct ensemble *ensemble; /* of the teachers; NULL when there is one at most */
    int views;        /* augmentations of an image, see data/loader.h; 0: new ones every epoch */
    bool caches;      /* what the teachers say is kept. Needs views */
    bool caches_maps; /* and what losses keep of a teacher's maps */
    const char *cache, *maps_cache; /* the files; NULL: all is checked and nothing is kept yet */
    bool rehearsal; /* steps leave the weights as they are: somebody wants to know how long they
                       take */
};

struct trainer;

/* setup is copied; what it points to must outlive the trainer. Fails before anything runs when
 * losses, taps and shapes do not fit. */
enum retort_status trainer_create(const struct trainer_setup *setup, struct trainer **trainer);
/* Accepts NULL. */
void trainer_destroy(struct trainer *trainer);

/* Once its cache is full, does a step run no teacher? Not where maps are looked at that are not
 * kept.
 */
bool trainer_teachers_rest(const struct trainer *trainer);

/* Bytes that the teachers' caches take, or will; 0: none are wanted. */
size_t trainer_cache_bytes(const struct trainer *trainer);

long trainer_steps(const struct trainer *trainer); /* in an epoch */

/* The pairs of taps that the losses compare: index 0, 1, ...; false: there are no more. names [out]
 * borrowed. */
bool trainer_pair(const struct trainer *trainer, int index, const char *names[2]);

/* What is known after a step or, as means, after an epoch. Of several students the first one. */
struct training_report {
    int epoch;                    /* of the stage */
    long step, steps;             /* of this epoch */
    long skipped;                 /* of them without effect, see recipe_train.not_finite */
    long clipped;                 /* of them with a gradient above recipe_train.clip_norm */
    struct objective_value value; /* means over the epoch so far */
    struct objective_norms norms; /* means over a few steps of the epoch */
    int measured;                 /* steps that norms are means of */
    double accuracy;              /* percent of training images right so far, as augmented */
    double rate;                  /* learning rate of the last step */
    double seconds, waited;       /* since the epoch began; of it waiting for data */
    long images;
    double val_top1; /* percent of the validation images after the epoch; below 0: there are none */
};

/* The share of the time so far in which training waited for data. */
static inline double training_waited_percent(const struct training_report *report)
{
    return report->seconds > 0 ? 100 * report->waited / report->seconds : 0;
}

/* Called after every step; anything but RETORT_OK stops the epoch and is handed on. */
typedef enum retort_status training_listener(void *context, const struct training_report *report);

/* Train one epoch, the first is 0. begun: what a listener was told of the same epoch when it was
 * left, to go on after that step; NULL: from its beginning. listener may be NULL. A loss, gradient
 * or weight that is infinite or no number is RETORT_BACKEND. */
enum retort_status trainer_epoch(struct trainer *trainer, int epoch,
                                 const struct training_report *begun, training_listener *listener,
                                 void *context, struct training_report *report);

/* Write the networks' numbers into setup.models. */
enum retort_status trainer_store(struct trainer *trainer);

/* The optimizer's velocity of network number `which` as plain arrays, one per trained parameter of
 * the graph (others NULL), to and from a saved state. The parameters themselves travel in the
 * model. */
enum retort_status trainer_get_velocity(const struct trainer *trainer, int which,
                                        float *const *plain);
enum retort_status trainer_set_velocity(struct trainer *trainer, int which, float *const *plain);

/* Has nothing written to the teachers' weights since trainer_create? True without teachers. */
bool trainer_teachers_intact(const struct trainer *trainer);

/* Taps that the losses compare channel by channel and whose channels differ between student and
 * teacher: names [out] room for the student's taps, borrowed; gives how many. Fails as
 * trainer_create would. Of setup, train and the networks' shapes are looked at. */
enum retort_status trainer_adapters(const struct trainer_setup *setup, const char **names,
                                    int *channels, int *count);

#endif
