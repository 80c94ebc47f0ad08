/* experiment.h - a recipe opened, checked and split into the parts that are trained.
 *
 * What run.c does and plan.c foretells are the same parts, made here. Whatever can be found wrong
 * with recipe, data and networks is found by experiment_open and experiment_try, which write
 * nothing. Sentences name the recipe's file and line. */
#ifndef TRAIN_EXPERIMENT_H
#define TRAIN_EXPERIMENT_H

#include "recipe/recipe.h"
#include "retort/run.h"
#include "train/trainer.h"

struct experiment {
    const struct retort_run_options *options; /* borrowed */
    struct recipe recipe;
    struct dataset dataset;
    char *folder;
    const void *plain[LOSS_COUNT]; /* losses of a network without a teacher */
};

/* What is trained how. */
struct part {
    const char *name, *network;
    enum retort_parts bit;
    const struct recipe_train *train;
    const void *const *losses;
    const struct model *teacher; /* NULL: none */
    const char *method;          /* for the provenance */
    int epochs;
    uint64_t seed;
};

/* Read recipe and data, set the number of threads. The experiment stays where it is: parts point
 * into it. */
enum retort_status experiment_open(const struct retort_run_options *options,
                                   struct experiment *experiment);
/* Accepts a zeroed struct and what experiment_open left when it failed. */
void experiment_close(struct experiment *experiment);

/* Was this part asked for? */
bool experiment_asks(const struct experiment *experiment, enum retort_parts part);
/* Is the teacher trained here, rather than loaded from a model file? */
bool experiment_trains_teacher(const struct experiment *experiment);

struct part experiment_teacher(const struct experiment *experiment);
struct part experiment_baseline(const struct experiment *experiment);
struct part experiment_student(const struct experiment *experiment, const struct model *teacher);

/* An initialised network for the data set. */
enum retort_status experiment_new_model(const struct experiment *experiment, const char *network,
                                        uint64_t seed, struct model *model);
/* The model file that the recipe names as teacher, if it suits the data set. */
enum retort_status experiment_load_teacher(const struct experiment *experiment,
                                           struct model *model);

/* A trainer for a part, changing model. */
enum retort_status experiment_trainer(const struct experiment *experiment, const struct part *part,
                                      struct model *model, struct trainer **trainer);

/* Called with each part's trainer, of a new network. */
typedef enum retort_status experiment_visitor(void *context, const struct part *part,
                                              struct trainer *trainer);

/* Make the trainer of every part, one after the other, to find out whether everything fits together
 * before hours of training. visitor (may be NULL) sees those that are asked for. */
enum retort_status experiment_try(const struct experiment *experiment, experiment_visitor *visitor,
                                  void *context);

#endif
