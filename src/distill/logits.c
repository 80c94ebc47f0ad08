/* logits.c - see logits.h.
 *
 * The way back from standardised scores: with c = z - mean(z), s = sd(z), d = s + 1e-7 and the
 * gradient g by the scores,
 *
 *     dL/dz[k] = (g[k] - mean(g) - c[k] / (s d) * mean of g[j] c[j]) / (d T) */
#include "distill/logits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LEAST_DEVIATION = 1e-7;

enum retort_status logits_init(struct logits *logits, const struct loss_shapes *shapes,
                               double temperature, bool standardize)
{
    const size_t n = (size_t)shapes->n, numbers = n * (size_t)shapes->classes;
    *logits = (struct logits){.n = shapes->n,
                              .classes = shapes->classes,
                              .temperature = temperature,
                              .standardize = standardize};
    TRY(memory_zeroed(numbers, sizeof(double), (void **)&logits->teacher));
    TRY(memory_zeroed(numbers, sizeof(double), (void **)&logits->scores));
    return memory_zeroed(n, sizeof(double), (void **)&logits->values);
}

void logits_release(struct logits *logits)
{
    free(logits->teacher);
    free(logits->scores);
    free(logits->values);
    *logits = (struct logits){0};
}

static size_t row_of(const struct logits *logits, int image)
{
    return (size_t)image * (size_t)logits->classes;
}

struct moments {
    double mean, deviation;
};

static struct moments moments_of(const float *z, int count)
{
    double sum = 0, squares = 0;
    for (int k = 0; k < count; k++)
        sum += z[k];
    const double mean = sum / count;
    for (int k = 0; k < count; k++)
        squares += (z[k] - mean) * (z[k] - mean);
    return (struct moments){mean, sqrt(squares / count)};
}

double *logits_scores(const struct logits *logits, int image, const float *batch)
{
    const float *z = batch + row_of(logits, image);
    double *scores = logits->scores + row_of(logits, image);
    struct moments moments = {0, 1};
    if (logits->standardize) {
        moments = moments_of(z, logits->classes);
        moments.deviation += LEAST_DEVIATION;
    }
    for (int k = 0; k < logits->classes; k++)
        scores[k] = (z[k] - moments.mean) / moments.deviation / logits->temperature;
    return scores;
}

void logits_back(const struct logits *logits, int image, const float *batch, float *diff)
{
    const int classes = logits->classes;
    const float *z = batch + row_of(logits, image);
    const double *gradient = logits->scores + row_of(logits, image);
    diff += row_of(logits, image);
    struct moments moments = {0, 1};
    double mean = 0, slope = 0, divisor = logits->temperature;
    if (logits->standardize) {
        moments = moments_of(z, classes);
        const double deviation = moments.deviation + LEAST_DEVIATION;
        for (int k = 0; k < classes; k++) {
            mean += gradient[k] / classes;
            slope += gradient[k] * (z[k] - moments.mean) / classes;
        }
        /* equal logits: c is 0 everywhere, whatever it is divided by */
        slope = moments.deviation > 0 ? slope / (moments.deviation * deviation) : 0;
        divisor *= deviation;
    }
    for (int k = 0; k < classes; k++)
        diff[k] += (float)((gradient[k] - mean - slope * (z[k] - moments.mean)) / divisor);
}

double scores_log_sum(const double *scores, int classes, int without)
{
    double largest = -INFINITY, sum = 0;
    for (int k = 0; k < classes; k++)
        largest = k != without && scores[k] > largest ? scores[k] : largest;
    for (int k = 0; k < classes; k++)
        sum += k == without ? 0 : exp(scores[k] - largest);
    return largest + log(sum);
}

const double *logits_probabilities(const struct logits *logits, int image)
{
    return logits->teacher + row_of(logits, image);
}

void logits_begin(struct logits *logits)
{
    memset(logits->teacher, 0, row_of(logits, logits->n) * sizeof(double));
}

void logits_teacher(struct logits *logits, const struct teacher_view *teacher)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < logits->n; i++) {
        const double *scores = logits_scores(logits, i, teacher->logits);
        const double log_sum = scores_log_sum(scores, logits->classes, -1);
        double *probs = logits->teacher + row_of(logits, i);
        for (int k = 0; k < logits->classes; k++)
            probs[k] += teacher->share * exp(scores[k] - log_sum);
    }
}

double logits_sum(const struct logits *logits)
{
    double sum = 0;
    for (int i = 0; i < logits->n; i++)
        sum += logits->values[i];
    return sum;
}
