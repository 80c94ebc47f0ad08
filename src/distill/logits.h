/* logits.h - what the losses on logits share: scores, the teachers' mean probabilities, and the way
 * back from scores to logits. In double: a batch has few logits.
 *
 * A score is a logit divided by the temperature T. With `standardize` each image's logits are
 * brought to mean 0 and standard deviation 1 over the classes before (Sun et al., "Logit
 * Standardization in Knowledge Distillation", CVPR 2024, algorithm 1):
 *
 *     score[k] = (z[k] - mean(z)) / (sd(z) + 1e-7) / T,     sd(z)^2 = mean of (z[k] - mean(z))^2
 *
 * The 1e-7 is not in the formula of the paper: it makes equal logits equal scores instead of NaN.
 *
 *     logits_begin, logits_teacher for each teacher; then for each image of the student:
 *     double *scores = logits_scores(logits, image, z);
 *     ... look at scores, put the gradient by the scores in their place ...
 *     logits_back(logits, image, z, diff); */
#ifndef DISTILL_LOGITS_H
#define DISTILL_LOGITS_H

#include "distill/loss.h"

struct logits {
    int n, classes;
    double temperature;
    bool standardize;
    double *teacher; /* (n, classes) probabilities, the sum over the teachers seen, by shares */
    double *scores;  /* (n, classes) */
    double *values;  /* (n) of each image; summed in order, so threads do not change the sum */
};

enum retort_status logits_init(struct logits *logits, const struct loss_shapes *shapes,
                               double temperature, bool standardize);
void logits_release(struct logits *logits); /* accepts a zeroed struct */

void logits_begin(struct logits *logits);
/* Add share * softmax(scores) of every image. */
void logits_teacher(struct logits *logits, const struct teacher_view *teacher);

/* This image's scores, and its teachers' probabilities, from the logits of the whole batch. */
double *logits_scores(const struct logits *logits, int image, const float *batch);
const double *logits_probabilities(const struct logits *logits, int image);
/* What logits_scores gave now holds the gradient by the scores; that by the logits is added to the
 * image's part of diff. */
void logits_back(const struct logits *logits, int image, const float *batch, float *diff);
/* The sum of values over the batch. */
double logits_sum(const struct logits *logits);

/* log(sum of exp(scores[k])) over all k but `without` (-1: over all). */
double scores_log_sum(const double *scores, int classes, int without);

#endif
