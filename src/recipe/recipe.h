/* recipe.h - an experiment as a file: what a user may say, checked before anything runs.
 *
 * The structs below are described by setting tables (base/settings.h) in recipe.c; from the tables
 * a libcyaml schema is made, by which a file is parsed. recipe_load fails with file, line where
 * known, what was found and what was wanted, for: unknown keys, wrong types, values out of range,
 * and combinations that cannot work. Networks, taps and data sets are names here; who knows them
 * (nn, data) checks them before a run begins. */
#ifndef RECIPE_RECIPE_H
#define RECIPE_RECIPE_H

#include <stdint.h>

#include "base/settings.h"
#include "distill/ensemble.h"
#include "distill/loss.h"

enum budget { BUDGET_QUICK, BUDGET_FULL }; /* 30 epochs one-cycle; 200 epochs stepped */
enum schedule_kind { SCHEDULE_AUTO, SCHEDULE_ONE_CYCLE, SCHEDULE_STEP, SCHEDULE_CONSTANT };
enum decay_scope {
    DECAY_ALL,
    DECAY_WEIGHTS
}; /* all parameters; convolution and linear weights only */

struct recipe_data {
    const char *set, *path;   /* path "": the format's default place */
    struct text_list augment; /* of "flip", "alternating-flip", "crop", "rotate", "cutout",
                                 "jitter", "mixup", "cutmix" */
    int pad;                  /* pixels of border that crop cuts from */
    int border;               /* enum border */
    double rotation;          /* degrees, of rotate */
    int cutout;               /* side of cutout's square */
    double jitter;            /* of jitter: factors 1 - jitter to 1 + jitter */
    double mixup, cutmix;     /* alpha of each */
    int val;                  /* training images held out */
    int size;                 /* of images of any size; 0: the set's default */
    double held_out;          /* share that tests, where nothing else does; 0: the set's default */
    bool skip_bad;            /* leave out records that cannot be used */
    int limit, test_limit;    /* images per class, 0 = all */
    int views;                /* augmentations that an image has; 0: new ones in every epoch */
    int loader_threads;
};

enum border { BORDER_REFLECT, BORDER_ZERO };

enum not_finite { NOT_FINITE_STOP, NOT_FINITE_SKIP };

/* How a network is trained. After recipe_load every field is resolved: 0 or auto no longer occur.
 */
struct recipe_train {
    int budget; /* enum budget: gives epochs, schedule and lr where they are not given */
    int epochs; /* 0: the budget's */
    int batch;
    double lr; /* peak learning rate; 0: the schedule's default (one-cycle 0.2, step 0.1) */
    double momentum;
    bool nesterov;
    double weight_decay;
    double clip_norm; /* the highest norm of the gradient; 0: any */
    int decay;        /* enum decay_scope */
    int schedule;     /* enum schedule_kind */
    double warmup; /* one-cycle: share of the steps that rise linearly from 0 to lr; then linear to
                      0 */
    struct int_list milestones; /* step: percent of the epochs at which lr is multiplied by gamma */
    double gamma;
    int not_finite; /* enum not_finite: what a loss or gradient that is no number does */
};

struct recipe_teacher {
    const char *network;      /* "" when weights are given */
    int count;                /* teachers, from seeds of their own; 0: none */
    int seed;                 /* of the first one, the next ones count up; 0: all follow from the
                                 recipe's, and are no teachers of another recipe seed */
    struct text_list weights; /* model files instead of training; relative to the working folder */
    struct recipe_train train;
};

struct recipe_student {
    const char *network;
    bool baseline; /* also train the student without a teacher, at equal budget */
    struct recipe_train train;
};

struct recipe_losses {
    void *settings[LOSS_COUNT]; /* by enum loss_kind: that loss's settings, NULL: no part */
};

struct recipe_stage {
    int epochs;   /* 0: a share of what the other stages leave of the student's epochs */
    int percent;  /* of the student's epochs, instead of a number; 0 once it is resolved */
    double lr;    /* 0: the student's */
    int schedule; /* enum schedule_kind, over the stage; auto: the student's */
    struct text_list trains; /* "all", "student", "adapters", beginnings of parameter names */
    struct recipe_losses losses;
};

/* Stages by name, where none are listed: auto is two-stage where taps differ in channels. */
enum preset { PRESET_AUTO, PRESET_JOINT, PRESET_TWO_STAGE, PRESET_FSP };
enum balance { BALANCE_NONE, BALANCE_GRAD_NORM };

struct recipe_distill {
    struct text_list taps; /* empty: all taps of the student's family that the teacher has too */
    struct ensemble ensemble;
    int preset;               /* enum preset; auto once stages are there */
    int balance;              /* enum balance */
    int peers;                /* students that teach each other; 1: none do */
    bool cache;               /* keep what the teachers say of every view */
    bool cache_maps;          /* and what gram keeps of their maps */
    int generations;          /* each is taught by the one before it, the first by the teachers */
    struct group_list stages; /* of struct recipe_stage */
};

struct recipe {
    const char *name;
    int seed;
    int threads;   /* 0: one for each core that this process may use */
    int precision; /* enum precision */
    struct recipe_data data;
    struct recipe_teacher teacher;
    struct recipe_student student;
    struct recipe_distill distill;
    struct arena arena; /* owns all of it */
};

/* The table of struct recipe, for --help and docs. */
extern const struct setting_table recipe_settings;

/* Read, override, resolve, check. RETORT_FORMAT: the file is no recipe; RETORT_INVALID: it asks for
 * what cannot be. overrides: "key.path=value" texts (--set), applied before the check; lists take
 * an index: "distill.stages.0.losses.kl.temperature=4"; a loss takes on or off. Release with
 * recipe_release. */
enum retort_status recipe_load(const char *path, const char *const *overrides, int override_count,
                               struct recipe *recipe);
void recipe_release(struct recipe *recipe);

/* Where the recipe lists no stages: make those of its preset. channels_differ: between taps of
 * student and teacher. Does nothing when there are stages. */
enum retort_status recipe_settle(struct recipe *recipe, bool channels_differ);

/* For what others find wrong with a name that a recipe gives: put "PATH:LINE: SETTING: " before the
 * recorded sentence, PATH being the recipe's file. Returns status; out of memory stays as it is. */
enum retort_status recipe_blame(const char *path, const char *setting, enum retort_status status);

/* The resolved recipe as YAML, which recipe_load reads back to an equal recipe. The caller frees
 * *text. */
enum retort_status recipe_print(const struct recipe *recipe, char **text);

/* Is anybody taught by teachers, so that there must be some? */
bool recipe_needs_teachers(const struct recipe *recipe);

#endif
