/* ce.c - cross-entropy with the true labels: batch mean of -sum over classes of q log softmax(z).
 *
 * q is 1 at the label; with two labels of a mixed image, their shares; with smoothing s it is
 * brought to (1 - s) q + s / classes (Szegedy et al. 2016, section 7). Gradient: weight *
 * (softmax(z) - q) / n. */
#include <assert.h>
#include <stdlib.h>

#include "distill/loss.h"
#include "distill/softmax.h"

struct ce_settings {
    struct loss_weight weight;
    double smoothing;
};
static const struct setting ce_rows[] = {
    LOSS_WEIGHT_ROWS(struct ce_settings, "1"),
    {"smoothing", SETTING_NUMBER, offsetof(struct ce_settings, smoothing), .low = 0, .high = 0.99,
     .fallback = "0", .help = "part of the label that is spread evenly over all classes"},
};
static const struct setting_table ce_table = SETTING_TABLE("ce", struct ce_settings, ce_rows);

struct ce {
    int n, classes;
    double smoothing;
    double *values; /* (n) of each image; summed in order, so threads do not change the sum */
};

static void ce_destroy(void *state)
{
    struct ce *ce = state;
    if (ce)
        free(ce->values);
    free(ce);
}

static enum retort_status ce_create(const void *settings, const struct loss_shapes *shapes,
                                    void **state)
{
    enum retort_status status;
    struct ce *ce = NULL;
    TRY(memory_zeroed(1, sizeof(*ce), (void **)&ce));
    *ce = (struct ce){.n = shapes->n,
                      .classes = shapes->classes,
                      .smoothing = ((const struct ce_settings *)settings)->smoothing};
    TRY_DONE(memory_zeroed((size_t)ce->n, sizeof(double), (void **)&ce->values));
    *state = ce;
    return RETORT_OK;
done:
    ce_destroy(ce);
    return status;
}

/* An image's labels: the second one counts 1 - share. */
struct truth {
    int label, other;
    double share, smoothing;
};

static double ce_image(const float *logits, const struct truth *truth, int classes, double factor,
                       float *diff)
{
    const double kept = 1 - truth->smoothing, spread = truth->smoothing / classes;
    const double own = kept * truth->share, others = kept * (1 - truth->share);
    assert(truth->label >= 0 && truth->label < classes);
    const double log_sum = softmax_log_sum(logits, classes);
    double loss = own * (log_sum - logits[truth->label]);
    if (others > 0)
        loss += others * (log_sum - logits[truth->other]);
    for (int k = 0; k < classes; k++) {
        const double q = own * (k == truth->label) + others * (k == truth->other) + spread;
        if (spread > 0)
            loss += spread * (log_sum - logits[k]);
        diff[k] += (float)(factor * (exp(logits[k] - log_sum) - q));
    }
    return loss;
}

static double ce_student(void *state, double weight, const struct student_view *student)
{
    struct ce *ce = state;
    const double factor = weight / ce->n;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ce->n; i++) {
        const size_t row = (size_t)i * (size_t)ce->classes;
        const struct truth truth = {
            student->labels[i], student->others ? student->others[i] : student->labels[i],
            student->others ? (double)student->shares[i] : 1, ce->smoothing};
        ce->values[i] = ce_image(student->logits + row, &truth, ce->classes, factor,
                                 student->diff_logits + row);
    }
    double sum = 0;
    for (int i = 0; i < ce->n; i++)
        sum += ce->values[i];
    return sum / ce->n;
}

const struct loss loss_ce = {
    .name = "ce",
    .settings = &ce_table,
    .create = ce_create,
    .destroy = ce_destroy,
    .student = ce_student,
};
