/* dist.c - DIST (Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
 * equations 6 to 10): the student's probabilities need not be the teacher's, only move with them,
 * within each image (between classes) and within each class (between images).
 *
 *     r(a, b) = cosine of a - mean(a) and b - mean(b), Pearson's correlation
 *     inter   = mean over images i  of 1 - r(p_S[i][.], p_T[i][.])
 *     intra   = mean over classes k of 1 - r(p_S[.][k], p_T[.][k])
 *     value   = T^2 (beta inter + gamma intra)
 *
 * p = softmax(z / T); with several teachers p_T is the mean of their probabilities, weighted by
 * their shares. beta and gamma are 2, T is 1. As in the authors' program the product of the
 * two norms in r gets 1e-8 added: it decides what a class is worth of which a batch has next to
 * nothing, and makes equal probabilities have r = 0 and a finite gradient.
 *
 * Gradient, for u = a - mean(a), v = b - mean(b), q = u . v, m = |u| |v| + 1e-8, by a:
 * v / m - q |v| u / (|u| m^2), whose mean is 0 as those of u and v are; then back through softmax.
 */
#include <math.h>
#include <stdlib.h>

#include "distill/logits.h"

struct dist_settings {
    struct loss_weight weight;
    double beta, gamma, temperature;
};
static const struct setting dist_rows[] = {
    LOSS_WEIGHT_ROWS(struct dist_settings, "1"),
    {"beta", SETTING_NUMBER, offsetof(struct dist_settings, beta), .low = 0, .high = 1e6,
     .fallback = "2", .help = "factor of the part on the classes of an image"},
    {"gamma", SETTING_NUMBER, offsetof(struct dist_settings, gamma), .low = 0, .high = 1e6,
     .fallback = "2", .help = "factor of the part on the images of a class"},
    {"temperature", SETTING_NUMBER, offsetof(struct dist_settings, temperature), .low = 0.01,
     .high = 1000, .fallback = "1", .help = "divides the logits of teacher and student"},
};
static const struct setting_table dist_table =
    SETTING_TABLE("dist", struct dist_settings, dist_rows);

static const double LEAST_PRODUCT = 1e-8;

struct dist {
    struct logits logits;
    double beta, gamma;
    double *probs; /* (n, classes) the student's */
    double *diff;  /* (n, classes) gradient by them */
    double *intra; /* (classes) each one's value */
};

static void dist_destroy(void *state)
{
    struct dist *dist = state;
    if (!dist)
        return;
    logits_release(&dist->logits);
    free(dist->probs);
    free(dist->diff);
    free(dist->intra);
    free(dist);
}

static enum retort_status prepare(struct dist *dist, const struct dist_settings *wanted,
                                  const struct loss_shapes *shapes)
{
    const size_t classes = (size_t)shapes->classes, count = (size_t)shapes->n * classes;
    dist->beta = wanted->beta;
    dist->gamma = wanted->gamma;
    TRY(logits_init(&dist->logits, shapes, wanted->temperature, false));
    TRY(memory_zeroed(count, sizeof(double), (void **)&dist->probs));
    TRY(memory_zeroed(count, sizeof(double), (void **)&dist->diff));
    return memory_zeroed(classes, sizeof(double), (void **)&dist->intra);
}

static enum retort_status dist_create(const void *settings, const struct loss_shapes *shapes,
                                      void **state)
{
    enum retort_status status;
    struct dist *dist = NULL;
    TRY(memory_zeroed(1, sizeof(*dist), (void **)&dist));
    TRY_DONE(prepare(dist, settings, shapes));
    *state = dist;
    return RETORT_OK;
done:
    dist_destroy(dist);
    return status;
}

static void dist_begin(void *state)
{
    struct dist *dist = state;
    logits_begin(&dist->logits);
}

static void dist_teacher(void *state, const struct teacher_view *teacher)
{
    struct dist *dist = state;
    logits_teacher(&dist->logits, teacher);
}

/* ---- one row or column: `count` numbers, `stride` apart ---- */

struct series {
    const double *ours, *theirs;
    double *diff; /* [add] gradient by ours */
    int count;
    size_t stride;
};

static double mean_of(const double *numbers, int count, size_t stride)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += numbers[(size_t)i * stride];
    return sum / count;
}

/* 1 - r; factor * its gradient is added. */
static double distance(const struct series *s, double factor)
{
    const double a = mean_of(s->ours, s->count, s->stride);
    const double b = mean_of(s->theirs, s->count, s->stride);
    double uu = 0, uv = 0, vv = 0;
    for (int i = 0; i < s->count; i++) {
        const double u = s->ours[(size_t)i * s->stride] - a;
        const double v = s->theirs[(size_t)i * s->stride] - b;
        uu += u * u;
        uv += u * v;
        vv += v * v;
    }
    const double norm = sqrt(uu), other = sqrt(vv), product = norm * other + LEAST_PRODUCT;
    const double along = norm > 0 ? uv * other / (norm * product * product) : 0;
    for (int i = 0; i < s->count; i++) {
        const double u = s->ours[(size_t)i * s->stride] - a;
        const double v = s->theirs[(size_t)i * s->stride] - b;
        s->diff[(size_t)i * s->stride] -= factor * (v / product - along * u);
    }
    return 1 - uv / product;
}

static struct series series_at(const struct dist *dist, size_t place, int count, size_t stride)
{
    return (struct series){dist->probs + place, dist->logits.teacher + place, dist->diff + place,
                           count, stride};
}

/* ---- the student ---- */

/* Probabilities, and what the classes of each image say. */
static void look_at_images(const struct dist *dist, double factor, const float *batch)
{
    const struct logits *logits = &dist->logits;
    const size_t classes = (size_t)logits->classes;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < logits->n; i++) {
        const double *scores = logits_scores(logits, i, batch);
        const double log_sum = scores_log_sum(scores, logits->classes, -1);
        const size_t row = (size_t)i * classes;
        for (size_t k = 0; k < classes; k++) {
            dist->probs[row + k] = exp(scores[k] - log_sum);
            dist->diff[row + k] = 0;
        }
        const struct series series = series_at(dist, row, logits->classes, 1);
        logits->values[i] = distance(&series, factor);
    }
}

static void look_at_classes(const struct dist *dist, double factor)
{
    const struct logits *logits = &dist->logits;
#pragma omp parallel for schedule(static)
    for (int k = 0; k < logits->classes; k++) {
        const struct series series = series_at(dist, (size_t)k, logits->n, (size_t)logits->classes);
        dist->intra[k] = distance(&series, factor);
    }
}

/* By the scores: p (g - sum of g p). */
static void go_back(const struct dist *dist, const struct student_view *student)
{
    const struct logits *logits = &dist->logits;
    const size_t classes = (size_t)logits->classes;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < logits->n; i++) {
        const double *probs = dist->probs + (size_t)i * classes;
        const double *diff = dist->diff + (size_t)i * classes;
        double *scores = logits->scores + (size_t)i * classes, along = 0;
        for (size_t k = 0; k < classes; k++)
            along += diff[k] * probs[k];
        for (size_t k = 0; k < classes; k++)
            scores[k] = probs[k] * (diff[k] - along);
        logits_back(logits, i, student->logits, student->diff_logits);
    }
}

static double dist_student(void *state, double weight, const struct student_view *student)
{
    struct dist *dist = state;
    const struct logits *logits = &dist->logits;
    const double square = logits->temperature * logits->temperature;
    const double inter = square * dist->beta / logits->n;
    const double intra = square * dist->gamma / logits->classes;
    look_at_images(dist, weight * inter, student->logits);
    look_at_classes(dist, weight * intra);
    go_back(dist, student);
    double classes = 0;
    for (int k = 0; k < logits->classes; k++)
        classes += dist->intra[k];
    return inter * logits_sum(logits) + intra * classes;
}

const struct loss loss_dist = {
    .name = "dist",
    .settings = &dist_table,
    .needs_teacher = true,
    .create = dist_create,
    .destroy = dist_destroy,
    .begin = dist_begin,
    .teacher = dist_teacher,
    .student = dist_student,
};
