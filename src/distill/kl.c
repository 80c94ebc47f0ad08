/* kl.c - divergence of the student's from the teachers' probabilities (Hinton et al. 2015; Zhang et
 * al. 2018 with the peer frozen).
 *
 * L = T^2 * batch mean of sum_c p_T log(p_T / p_S), p = softmax(z / T), p_T the mean of the teachers'
 * probabilities by their shares. Gradient on the student's logits: T (p_S - p_T) / n. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "distill/loss.h"
#include "distill/softmax.h"

struct kl_settings {
    double weight, temperature;
};

static const struct setting rows[] = {
    {"weight", SETTING_NUMBER, offsetof(struct kl_settings, weight), 0, 1e6, "1", "factor of this loss in the sum"},
    {"temperature", SETTING_NUMBER, offsetof(struct kl_settings, temperature), 0.01, 1000, "1",
     "logits are divided by it; Hinton's distillation takes 4"},
};
static const struct setting_table table = SETTING_TABLE("kl", struct kl_settings, rows);

struct kl {
    const struct kl_settings *settings;
    int n, classes;
    double *row;     /* one row, [tmp] */
    double *teacher; /* (n, classes): p_T so far */
};

static enum retort_status create(const void *settings, const struct loss_shapes *shapes, void **state)
{
    struct kl *made;
    size_t classes = (size_t)shapes->classes, numbers = classes * ((size_t)shapes->n + 1);
    TRY(memory_zeroed(1, sizeof(*made) + numbers * sizeof(double), (void **)&made));
    *made = (struct kl){settings, shapes->n, shapes->classes, (double *)(made + 1), NULL};
    made->teacher = made->row + classes;
    *state = made;
    return RETORT_OK;
}

static void begin(void *state)
{
    struct kl *kl = state;
    memset(kl->teacher, 0, (size_t)kl->n * (size_t)kl->classes * sizeof(double));
}

static void teacher(void *state, const struct teacher_view *teacher)
{
    struct kl *kl = state;
    for (int i = 0; i < kl->n; i++) {
        double *sum = kl->teacher + (size_t)i * (size_t)kl->classes;
        softmax(teacher->logits + (size_t)i * (size_t)kl->classes, kl->classes, kl->settings->temperature, kl->row);
        for (int c = 0; c < kl->classes; c++)
            sum[c] += teacher->share * kl->row[c];
    }
}

static double student(void *state, double weight, const struct student_view *student)
{
    struct kl *kl = state;
    const double t = kl->settings->temperature;
    double sum = 0;
    for (int i = 0; i < kl->n; i++) {
        const float *logits = student->logits + (size_t)i * (size_t)kl->classes;
        const double *p = kl->teacher + (size_t)i * (size_t)kl->classes;
        float *diff = student->diff_logits + (size_t)i * (size_t)kl->classes;
        double normaliser = softmax(logits, kl->classes, t, kl->row);
        for (int c = 0; c < kl->classes; c++) {
            if (p[c] > 0) /* the limit of p log p at 0 is 0 */
                sum += p[c] * (log(p[c]) - (logits[c] / t - normaliser));
            diff[c] += (float)(weight * t * (kl->row[c] - p[c]) / kl->n);
        }
    }
    return t * t * sum / kl->n;
}

const struct loss loss_kl = {
    .name = "kl",
    .settings = &table,
    .needs_teacher = true,
    .create = create,
    .destroy = free,
    .begin = begin,
    .teacher = teacher,
    .student = student,
};
