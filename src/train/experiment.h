/* experiment.h - a recipe opened, checked and split into the parts that are trained.
 *
 * What run.c does and plan.c foretells are the same parts, made here: teachers, the plain student,
 * students of earlier generations, the student. Whatever can be found wrong with recipe, data and
 * networks is found by experiment_open and experiment_try, which write nothing. Sentences name the
 * recipe's file and line. */
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
    char *cache, *maps_cache; /* files of the teachers' caches; NULL: nothing is written (yet) */
    double cache_bytes;       /* that they take at most, known to experiment_try */
};

/* One stage of a part: its own losses, epochs, schedule. */
struct stage {
    struct recipe_train train; /* the network's, with the stage's epochs, rate and schedule */
    const void *const *losses;
    const struct text_list *trains; /* NULL: all */
};

enum { MOST_STAGES = 16 };

/* What is trained how. */
struct part {
    char name[32];
    const char *network, *setting; /* setting: of the recipe, for messages */
    enum retort_parts bit;
    const char *method; /* for the provenance */
    int epochs;         /* of all stages */
    uint64_t seed;
    int stage_count, peers;
    struct stage stages[MOST_STAGES];
    const struct model *const *teachers;
    int teacher_count;
    const struct ensemble *ensemble;
    bool balanced;
};

/* Read recipe and data, set the number of threads, make the preset's stages. The experiment stays
 * where it is: parts point into it. */
enum retort_status experiment_open(const struct retort_run_options *options,
                                   struct experiment *experiment);
/* Accepts a zeroed struct and what experiment_open left when it failed. */
void experiment_close(struct experiment *experiment);

/* From now on trainers keep what teachers say, if the recipe asks for it, in the run's folder. */
enum retort_status experiment_keep_cache(struct experiment *experiment);

/* Was this part asked for? */
bool experiment_asks(const struct experiment *experiment, enum retort_parts part);
/* Are teachers trained here, rather than loaded from model files? */
bool experiment_trains_teachers(const struct experiment *experiment);
/* Teachers in all. */
int experiment_teachers(const struct experiment *experiment);

/* Teacher number `index`, 0 first. */
struct part experiment_teacher(const struct experiment *experiment, int index);
struct part experiment_baseline(const struct experiment *experiment);
/* The student of a generation, 0 first, taught by these; the last one is called "student". */
struct part experiment_student(const struct experiment *experiment, int generation,
                               const struct model *const *teachers, int count);

/* An initialised network for the data set, normalised as it is. */
enum retort_status experiment_new_model(const struct experiment *experiment, const char *network,
                                        uint64_t seed, struct model *model);
/* The model file that the recipe names as teacher number `index`, if it suits the data set. */
enum retort_status experiment_load_teacher(const struct experiment *experiment, int index,
                                           struct model *model);

/* Are the teachers there, or will they be made? RETORT_INVALID: neither. */
enum retort_status experiment_find_teachers(const struct experiment *experiment);

/* ---- a part in training ---- */

/* The networks of one stage: the part's, with the adapters that the stage wants. */
struct training {
    int count;
    struct model extended[MOST_PEERS], *models[MOST_PEERS];
    int adapters;
};

/* Copies of the part's networks (`peers` of them) for a stage; earlier (NULL: none): the training
 * of the stage before, whose adapters go on. */
enum retort_status training_begin(const struct experiment *experiment, const struct part *part,
                                  int stage, struct model *const *networks,
                                  const struct training *earlier, struct training *training);
/* The trained numbers into the part's networks. */
void training_end(const struct training *training, struct model *const *networks);
/* Accepts a zeroed struct. */
void training_release(struct training *training);

/* A trainer for a stage of a part. */
enum retort_status experiment_trainer(const struct experiment *experiment, const struct part *part,
                                      int stage, struct training *training,
                                      struct trainer **trainer);

/* Called with each part's stages, of new networks. */
typedef enum retort_status experiment_visitor(void *context, const struct part *part, int stage,
                                              const struct training *training,
                                              struct trainer *trainer);

/* Make the trainer of every stage of every part, one after the other, to find out whether
 * everything fits together before hours of training, the teachers' caches and the disk included.
 * visitor (may be NULL) sees those that are asked for; their steps leave weights as they are. */
enum retort_status experiment_try(struct experiment *experiment, experiment_visitor *visitor,
                                  void *context);

#endif
