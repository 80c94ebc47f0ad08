/* ce.c - cross-entropy with the true labels: batch mean of -log softmax(z)[label].
 *
 * Gradient: weight * (softmax(z) - [k == label]) / n. */
#include <assert.h>
#include <stdlib.h>

#include "distill/loss.h"
#include "distill/softmax.h"

struct ce_settings {
    struct loss_weight weight;
};
static const struct setting ce_rows[] = {
    LOSS_WEIGHT_ROWS(struct ce_settings, "1"),
};
static const struct setting_table ce_table = SETTING_TABLE("ce", struct ce_settings, ce_rows);

struct ce {
    int n, classes;
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
    *ce = (struct ce){.n = shapes->n, .classes = shapes->classes};
    TRY_DONE(memory_zeroed((size_t)ce->n, sizeof(double), (void **)&ce->values));
    *state = ce;
    return RETORT_OK;
done:
    ce_destroy(ce);
    return status;
}

static double ce_image(const float *logits, int label, int classes, double factor, float *diff)
{
    assert(label >= 0 && label < classes);
    double log_sum = softmax_log_sum(logits, classes, 1);
    for (int k = 0; k < classes; k++)
        diff[k] += (float)(factor * (exp(logits[k] - log_sum) - (k == label)));
    return log_sum - logits[label];
}

static double ce_student(void *state, double weight, const struct student_view *student)
{
    struct ce *ce = state;
    const double factor = weight / ce->n;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < ce->n; i++) {
        size_t row = (size_t)i * (size_t)ce->classes;
        ce->values[i] = ce_image(student->logits + row, student->labels[i], ce->classes, factor,
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
