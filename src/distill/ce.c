/* ce.c - cross-entropy with the labels: the batch mean of -log p[label].
 * Gradient on logits: (p - onehot) / n. */
#include <stdlib.h>

#include "base/memory.h"
#include "distill/loss.h"
#include "distill/softmax.h"

struct ce_settings {
    double weight;
};

static const struct setting rows[] = {
    {"weight", SETTING_NUMBER, offsetof(struct ce_settings, weight), 0, 1e6, "1", "factor of this loss in the sum"},
};
static const struct setting_table table = SETTING_TABLE("ce", struct ce_settings, rows);

struct ce {
    int n, classes;
    double probs[]; /* one row, [tmp] */
};

static enum retort_status create(const void *settings, const struct loss_shapes *shapes, void **state)
{
    struct ce *made;
    TRY(memory_zeroed(1, sizeof(*made) + (size_t)shapes->classes * sizeof(double), (void **)&made));
    made->n = shapes->n;
    made->classes = shapes->classes;
    *state = made;
    return RETORT_OK;
}

static double student(void *state, double weight, const struct student_view *student)
{
    struct ce *ce = state;
    double sum = 0;
    for (int i = 0; i < ce->n; i++) {
        const float *logits = student->logits + (size_t)i * (size_t)ce->classes;
        float *diff = student->diff_logits + (size_t)i * (size_t)ce->classes;
        const int label = student->labels[i];
        sum += softmax(logits, ce->classes, 1, ce->probs) - logits[label];
        for (int c = 0; c < ce->classes; c++)
            diff[c] += (float)(weight * (ce->probs[c] - (c == label)) / ce->n);
    }
    return sum / ce->n;
}

const struct loss loss_ce = {
    .name = "ce",
    .settings = &table,
    .create = create,
    .destroy = free,
    .student = student,
};
