/* kl.c - distillation from the teachers' probabilities (Hinton et al. 2015; offline, so the
 * teachers are frozen): T^2 * batch mean of KL(p_teacher || p_student), p = softmax(scores), the
 * scores being z / T, or standardised (logits.h).
 *
 * With several teachers p_teacher is the mean of their probabilities, weighted by their shares.
 * Gradient by the scores: weight * T^2 * (softmax(scores) - p_teacher) / n. Where p_teacher is 0,
 * p log p is 0. */
#include <math.h>
#include <stdlib.h>

#include "distill/logits.h"

struct kl_settings {
    struct loss_weight weight;
    double temperature;
    bool standardize;
};
static const struct setting kl_rows[] = {
    LOSS_WEIGHT_ROWS(struct kl_settings, "1"),
    {"temperature", SETTING_NUMBER, offsetof(struct kl_settings, temperature), .low = 0.01,
     .high = 1000, .fallback = "1", .help = "divides the logits of teacher and student"},
    {"standardize", SETTING_FLAG, offsetof(struct kl_settings, standardize), .fallback = "false",
     .help = "bring each image's logits to mean 0 and deviation 1 before the temperature"},
};
static const struct setting_table kl_table = SETTING_TABLE("kl", struct kl_settings, kl_rows);

struct kl {
    struct logits logits;
};

static void kl_destroy(void *state)
{
    struct kl *kl = state;
    if (kl)
        logits_release(&kl->logits);
    free(kl);
}

static enum retort_status kl_create(const void *settings, const struct loss_shapes *shapes,
                                    void **state)
{
    const struct kl_settings *wanted = settings;
    enum retort_status status;
    struct kl *kl = NULL;
    TRY(memory_zeroed(1, sizeof(*kl), (void **)&kl));
    TRY_DONE(logits_init(&kl->logits, shapes, wanted->temperature, wanted->standardize));
    *state = kl;
    return RETORT_OK;
done:
    kl_destroy(kl);
    return status;
}

static void kl_begin(void *state)
{
    struct kl *kl = state;
    logits_begin(&kl->logits);
}

static void kl_teacher(void *state, const struct teacher_view *teacher)
{
    struct kl *kl = state;
    logits_teacher(&kl->logits, teacher);
}

/* The divergence; scores become factor * its gradient. */
static double kl_image(const double *teacher, int classes, double factor, double *scores)
{
    const double log_sum = scores_log_sum(scores, classes, -1);
    double divergence = 0;
    for (int k = 0; k < classes; k++) {
        double log_probability = scores[k] - log_sum;
        if (teacher[k] != 0)
            divergence += teacher[k] * (log(teacher[k]) - log_probability);
        scores[k] = factor * (exp(log_probability) - teacher[k]);
    }
    return divergence;
}

static double kl_student(void *state, double weight, const struct student_view *student)
{
    struct kl *kl = state;
    const struct logits *logits = &kl->logits;
    const double scale = logits->temperature * logits->temperature / logits->n;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < logits->n; i++) {
        double *scores = logits_scores(logits, i, student->logits);
        logits->values[i] =
            kl_image(logits_probabilities(logits, i), logits->classes, weight * scale, scores);
        logits_back(logits, i, student->logits, student->diff_logits);
    }
    return scale * logits_sum(logits);
}

const struct loss loss_kl = {
    .name = "kl",
    .settings = &kl_table,
    .needs_teacher = true,
    .create = kl_create,
    .destroy = kl_destroy,
    .begin = kl_begin,
    .teacher = kl_teacher,
    .student = kl_student,
};
