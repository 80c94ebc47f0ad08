/* step.h - one step of training, which the trainer repeats and the benchmark times.
 *
 * The step's teachers forward, one after the other -> losses keep what they need of each -> student
 * forward -> losses -> student backward -> optimizer. Students that teach each other (mutual
 * learning, Zhang et al. 2018, all of them with the weights from before the step) all go forward
 * before the first loss. It stops half-way so that the caller can read the logits, which are gone
 * after the backward pass. Nothing here allocates. */
#ifndef TRAIN_STEP_H
#define TRAIN_STEP_H

#include "distill/ensemble.h"
#include "distill/objective.h"
#include "nn/engine/executor.h"
#include "train/optimizer.h"
#include "train/teacher_cache.h"

/* A frozen network. Taps in the order of the objective's. */
struct step_teacher {
    struct executor *executor;
    const struct tensor *taps;
};

/* A network in training. */
struct step_student {
    struct executor *executor;
    struct objective *objective;
    struct optimizer *optimizer;
    const struct tensor *taps;
    struct gradient *diff_taps;
    double scale; /* [tmp] of the gradient */
    float *task;  /* balanced: the task's gradient, as many numbers as the optimizer's view; else
                     NULL. The executor allows a second backward pass then */
};

struct train_step {
    struct step_student *students; /* several: they teach each other */
    const struct step_teacher *teachers;
    int student_count, teacher_count, n, classes;
    struct ensemble ensemble;        /* of the teachers */
    struct ensemble_member *members; /* [tmp] teacher_count */
    float *logits;                   /* [tmp] (n, classes), for the rule mean-logits */
    struct teacher_cache *cache;     /* of the teachers' logits; NULL: none */
    struct teacher_cache
        *maps_cache;    /* of what the losses keep of one teacher's maps; NULL: none */
    float *cached;      /* [tmp] (n, classes) */
    float *cached_maps; /* [tmp] one row of maps_cache */
    bool maps;          /* does any loss look at a teacher's maps? */
    uint64_t seed;      /* of the ensemble's draws */
    bool skips;         /* leave weights as they are when a gradient is not finite */
};

/* Where a step stands. */
struct step_moment {
    const float *images;        /* plain (batch, c, h, w) */
    const int *labels;          /* (batch) */
    const int *others;          /* (batch): labels of what is mixed in; NULL: nothing is */
    const float *shares;        /* (batch): of the first label */
    const int *indices, *views; /* (batch), of the images; looked at with a cache only */
    uint32_t number;            /* counts the steps of all stages, for dropout and the ensemble */
    double progress;            /* of the stage, from 0 to 1 */
    double rate;                /* learning rate */
};

/* Up to the losses and their gradients: values [out] of every student. */
void train_step_forward(const struct train_step *step, const struct step_moment *moment,
                        struct objective_value *values);
/* Norms of the first student's gradients, loss by loss; called between the two halves, it changes
 * nothing. */
void train_step_measure(const struct train_step *step, const struct step_moment *moment,
                        struct objective_norms *norms);
/* Do the rows of this batch that the caches hold agree with what the teachers say? RETORT_FORMAT if
 * not; compared [out]: how many there were. To be called before train_step_forward. */
enum retort_status train_step_check_cache(const struct train_step *step,
                                          const struct step_moment *moment, int *compared);
/* How a step ended. */
enum step_end {
    STEP_DONE,
    STEP_CLIPPED, /* done, with a gradient that was scaled down to recipe_train.clip_norm */
    STEP_SKIPPED, /* some gradient is infinite or no number: weights and velocity are as before */
    STEP_BROKEN   /* some weight became infinite or no number */
};

/* From there to the new weights. The status is the executors'. */
enum retort_status train_step_backward(const struct train_step *step,
                                       const struct step_moment *moment, enum step_end *end);

#endif
