/* dkd.c - decoupled distillation (Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022,
 * section 3, equation 7): the divergence of kl.c taken apart into what is said of the label's class
 * t and what is said of the others, which get weights of their own.
 *
 *     TCKD = KL((p_T[t], 1 - p_T[t]) || (p_S[t], 1 - p_S[t]))
 *     NCKD = KL(q_T || q_S),     q[k] = p[k] / (1 - p[t]) for k other than t
 *     value = T^2 * batch mean of alpha TCKD + beta NCKD
 *
 * p = softmax(scores), see logits.h; with several teachers p_T is the mean of their probabilities,
 * weighted by their shares. beta = 1 - p_T[t] would give kl. Gradient by the scores s, as the log
 * odds of t are s[t] - log sum of exp(s[k]) over the others:
 *
 *     by s[t]:   alpha (p_S[t] - p_T[t])
 *     by s[k]:  -alpha (p_S[t] - p_T[t]) q_S[k] + beta (q_S[k] - q_T[k])
 *
 * Where the teachers leave nothing at all to the others (1 - p_T[t] is 0 in double precision), q_T
 * says nothing and NCKD is 0. */
#include <math.h>
#include <stdlib.h>

#include "distill/logits.h"

struct dkd_settings {
    struct loss_weight weight;
    double alpha, beta, temperature;
    bool standardize;
};
static const struct setting dkd_rows[] = {
    LOSS_WEIGHT_ROWS(struct dkd_settings, "1"),
    {"alpha", SETTING_NUMBER, offsetof(struct dkd_settings, alpha), .low = 0, .high = 1e6,
     .fallback = "1", .help = "factor of the part on the label's class"},
    {"beta", SETTING_NUMBER, offsetof(struct dkd_settings, beta), .low = 0, .high = 1e6,
     .fallback = "8", .help = "factor of the part on the other classes"},
    {"temperature", SETTING_NUMBER, offsetof(struct dkd_settings, temperature), .low = 0.01,
     .high = 1000, .fallback = "4", .help = "divides the logits of teacher and student"},
    {"standardize", SETTING_FLAG, offsetof(struct dkd_settings, standardize), .fallback = "false",
     .help = "bring each image's logits to mean 0 and deviation 1 before the temperature"},
};
static const struct setting_table dkd_table = SETTING_TABLE("dkd", struct dkd_settings, dkd_rows);

struct dkd {
    struct logits logits;
    double alpha, beta;
};

static void dkd_destroy(void *state)
{
    struct dkd *dkd = state;
    if (dkd)
        logits_release(&dkd->logits);
    free(dkd);
}

static enum retort_status dkd_create(const void *settings, const struct loss_shapes *shapes,
                                     void **state)
{
    const struct dkd_settings *wanted = settings;
    enum retort_status status;
    struct dkd *dkd = NULL;
    TRY(memory_zeroed(1, sizeof(*dkd), (void **)&dkd));
    dkd->alpha = wanted->alpha;
    dkd->beta = wanted->beta;
    TRY_DONE(logits_init(&dkd->logits, shapes, wanted->temperature, wanted->standardize));
    *state = dkd;
    return RETORT_OK;
done:
    dkd_destroy(dkd);
    return status;
}

static void dkd_begin(void *state)
{
    struct dkd *dkd = state;
    logits_begin(&dkd->logits);
}

static void dkd_teacher(void *state, const struct teacher_view *teacher)
{
    struct dkd *dkd = state;
    logits_teacher(&dkd->logits, teacher);
}

/* p log(p / q), given log q. */
static double divergence_term(double p, double log_q)
{
    return p > 0 ? p * (log(p) - log_q) : 0;
}

/* The value; scores become factor * its gradient. */
static double dkd_image(const struct dkd *dkd, const double *teacher, int label, double factor,
                        double *scores)
{
    const int classes = dkd->logits.classes;
    if (classes == 1) {
        scores[0] = 0;
        return 0;
    }
    const double all = scores_log_sum(scores, classes, -1);
    const double others = scores_log_sum(scores, classes, label);
    double teacher_others = 0, target, other = 0;
    for (int k = 0; k < classes; k++)
        teacher_others += k == label ? 0 : teacher[k];
    target = divergence_term(teacher[label], scores[label] - all) +
             divergence_term(teacher_others, others - all);
    const double odds = dkd->alpha * (exp(scores[label] - all) - teacher[label]);
    const double beta = teacher_others > 0 ? dkd->beta : 0;
    for (int k = 0; k < classes; k++) {
        if (k == label)
            continue;
        const double log_q = scores[k] - others, q = exp(log_q);
        const double teacher_q = beta > 0 ? teacher[k] / teacher_others : 0;
        other += divergence_term(teacher_q, log_q);
        scores[k] = factor * (-odds * q + beta * (q - teacher_q));
    }
    scores[label] = factor * odds;
    return dkd->alpha * target + beta * other;
}

static double dkd_student(void *state, double weight, const struct student_view *student)
{
    struct dkd *dkd = state;
    const struct logits *logits = &dkd->logits;
    const double scale = logits->temperature * logits->temperature / logits->n;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < logits->n; i++) {
        double *scores = logits_scores(logits, i, student->logits);
        logits->values[i] = dkd_image(dkd, logits_probabilities(logits, i), student->labels[i],
                                      weight * scale, scores);
        logits_back(logits, i, student->logits, student->diff_logits);
    }
    return scale * logits_sum(logits);
}

const struct loss loss_dkd = {
    .name = "dkd",
    .settings = &dkd_table,
    .needs_teacher = true,
    .create = dkd_create,
    .destroy = dkd_destroy,
    .begin = dkd_begin,
    .teacher = dkd_teacher,
    .student = dkd_student,
};
