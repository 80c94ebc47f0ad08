/* kl.c - distillation from the teachers' probabilities (Hinton et al. 2015; offline, so the
 * teachers are frozen): T^2 * batch mean of KL(p_teacher || p_student), p = softmax(z / T).
 *
 * With several teachers p_teacher is the mean of their probabilities, weighted by their shares.
 * Gradient: weight * T * (softmax(z / T) - p_teacher) / n. Where p_teacher is 0, p log p is 0. */
#include <stdlib.h>
#include <string.h>

#include "distill/loss.h"
#include "distill/softmax.h"

struct kl_settings {
    double weight, temperature;
};
static const struct setting kl_rows[] = {
    {"weight", SETTING_NUMBER, offsetof(struct kl_settings, weight), .low = 0, .high = 1e6,
     .fallback = "1", .help = "factor of this loss in the sum"},
    {"temperature", SETTING_NUMBER, offsetof(struct kl_settings, temperature), .low = 0.01,
     .high = 1000, .fallback = "1", .help = "divides the logits of teacher and student"},
};
static const struct setting_table kl_table = SETTING_TABLE("kl", struct kl_settings, kl_rows);

struct kl {
    int n, classes;
    double temperature;
    double *teacher; /* (n, classes) probabilities, the sum over the teachers seen so far */
    double *values;  /* (n) of each image; summed in order, so threads do not change the sum */
};

static void kl_destroy(void *state)
{
    struct kl *kl = state;
    if (kl) {
        free(kl->teacher);
        free(kl->values);
    }
    free(kl);
}

static enum retort_status kl_create(const void *settings, const struct loss_shapes *shapes,
                                    void **state)
{
    const struct kl_settings *wanted = settings;
    const size_t n = (size_t)shapes->n, classes = (size_t)shapes->classes;
    enum retort_status status;
    struct kl *kl = NULL;
    TRY(memory_zeroed(1, sizeof(*kl), (void **)&kl));
    *kl = (struct kl){shapes->n, shapes->classes, wanted->temperature, NULL, NULL};
    TRY_DONE(memory_zeroed(n * classes, sizeof(double), (void **)&kl->teacher));
    TRY_DONE(memory_zeroed(n, sizeof(double), (void **)&kl->values));
    *state = kl;
    return RETORT_OK;
done:
    kl_destroy(kl);
    return status;
}

static void kl_begin(void *state)
{
    struct kl *kl = state;
    memset(kl->teacher, 0, (size_t)kl->n * (size_t)kl->classes * sizeof(double));
}

static void kl_teacher(void *state, const struct teacher_view *teacher)
{
    struct kl *kl = state;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < kl->n; i++) {
        const float *logits = teacher->logits + (size_t)i * (size_t)kl->classes;
        double *probs = kl->teacher + (size_t)i * (size_t)kl->classes;
        double log_sum = softmax_log_sum(logits, kl->classes, kl->temperature);
        for (int k = 0; k < kl->classes; k++)
            probs[k] += teacher->share * exp(logits[k] / kl->temperature - log_sum);
    }
}

static double kl_image(const struct kl *kl, const float *logits, const double *teacher,
                       double factor, float *diff)
{
    const double log_sum = softmax_log_sum(logits, kl->classes, kl->temperature);
    double divergence = 0;
    for (int k = 0; k < kl->classes; k++) {
        double log_probability = logits[k] / kl->temperature - log_sum;
        if (teacher[k] != 0)
            divergence += teacher[k] * (log(teacher[k]) - log_probability);
        diff[k] += (float)(factor * (exp(log_probability) - teacher[k]));
    }
    return divergence;
}

static double kl_student(void *state, double weight, const struct student_view *student)
{
    struct kl *kl = state;
    const double factor = weight * kl->temperature / kl->n;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < kl->n; i++) {
        size_t row = (size_t)i * (size_t)kl->classes;
        kl->values[i] = kl_image(kl, student->logits + row, kl->teacher + row, factor,
                                 student->diff_logits + row);
    }
    double sum = 0;
    for (int i = 0; i < kl->n; i++)
        sum += kl->values[i];
    return kl->temperature * kl->temperature * sum / kl->n;
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
