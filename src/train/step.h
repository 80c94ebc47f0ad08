/* step.h - one step of training, which the trainer repeats and the benchmark times.
 *
 * Teacher forward -> losses keep what they need of it -> student forward -> losses -> student
 * backward -> optimizer. It stops half-way so that the caller can read the logits, which are gone
 * after the backward pass. Nothing here allocates. */
#ifndef TRAIN_STEP_H
#define TRAIN_STEP_H

#include "distill/objective.h"
#include "nn/engine/executor.h"
#include "train/optimizer.h"

struct train_step {
    struct executor *student, *teacher; /* teacher NULL: none */
    struct objective *objective;
    struct optimizer *optimizer;
    const struct tensor *student_taps, *teacher_taps; /* in the order of the objective's taps */
    struct gradient *diff_taps;
};

/* Up to the losses and their gradients. images: plain (batch, c, h, w), labels: (batch); number
 * counts the steps, for dropout. */
struct objective_value train_step_forward(const struct train_step *step, const float *images,
                                          const int *labels, uint32_t number);
/* From there to the new weights. The status is the executors'. */
enum retort_status train_step_backward(const struct train_step *step, double rate);

#endif
