/* ensemble.c - the draws. */
#include "distill/ensemble.h"

#include <math.h>
#include <stddef.h>

#include "base/random.h"

static const char *const rules[] = {"random-k", "mean", "random-weights", "mean-logits", NULL};
static const char *const weight_kinds[] = {"uniform", "dirichlet", NULL};
static const char *const gram_teachers[] = {"first", "random", "mean", NULL};

static const struct setting rows[] = {
    {"rule", SETTING_CHOICE, offsetof(struct ensemble, rule), .choices = rules,
     .fallback = "random-k", .help = "how several teachers go together, drawn anew for each step"},
    {"k", SETTING_INT, offsetof(struct ensemble, k), .low = 1, .high = 100, .fallback = "2",
     .help = "random-k: how many teach in a step; all when there are fewer"},
    {"weights", SETTING_CHOICE, offsetof(struct ensemble, weights), .choices = weight_kinds,
     .fallback = "uniform",
     .help = "random-weights: uniform numbers divided by their sum, or Dirichlet(1)"},
    {"gram_teacher", SETTING_CHOICE, offsetof(struct ensemble, gram_teacher),
     .choices = gram_teachers, .fallback = "first",
     .help = "whose feature maps are looked at: the first teacher's, those of one of the step's at "
             "random, or all of the step's"},
};
const struct setting_table ensemble_settings = SETTING_TABLE("ensemble", struct ensemble, rows);

/* Numbers of a step's stream: 0 .. N-1 for shares, then one for the choice of the maps' teacher. */
static struct random_stream stream_of(uint64_t seed, uint32_t step)
{
    return random_stream(seed, RANDOM_ENSEMBLE, step, 0);
}

/* Uniform in (0, 1). */
static double uniform(const struct random_stream *stream, int index)
{
    return ((double)random_bits(stream, (uint64_t)index) + 0.5) / 4294967296.0;
}

/* share[i] for every teacher. */
static void draw_shares(const struct ensemble *ensemble, int teachers,
                        const struct random_stream *stream, double *share)
{
    double sum = 0;
    const int k = ensemble->k < teachers ? ensemble->k : teachers;
    for (int i = 0; i < teachers; i++)
        share[i] = ensemble->rule == ENSEMBLE_RANDOM_K ? 0 : 1.0 / teachers;
    if (ensemble->rule == ENSEMBLE_RANDOM_K) {
        uint32_t order[teachers];
        random_permutation(stream, (uint32_t)teachers, order);
        for (int i = 0; i < k; i++)
            share[order[i]] = 1.0 / k;
    } else if (ensemble->rule == ENSEMBLE_RANDOM_WEIGHTS) {
        for (int i = 0; i < teachers; i++) {
            const double u = uniform(stream, i);
            share[i] = ensemble->weights ? -log(u) : u; /* exponentials make Dirichlet(1) */
            sum += share[i];
        }
        for (int i = 0; i < teachers; i++)
            share[i] /= sum;
    }
}

int ensemble_draw(const struct ensemble *ensemble, int teachers, bool maps, uint64_t seed,
                  uint32_t step, struct ensemble_member *members)
{
    const struct random_stream stream = stream_of(seed, step);
    double share[teachers];
    int count = 0, taught = 0;
    draw_shares(ensemble, teachers, &stream, share);
    for (int i = 0; i < teachers; i++)
        taught += share[i] > 0;
    int chosen = (int)random_below(&stream, (uint64_t)teachers + 1, (uint32_t)taught);
    for (int i = 0; i < teachers; i++) {
        const bool teaches = share[i] > 0;
        const bool shows = !maps                                           ? false
                           : ensemble->gram_teacher == ENSEMBLE_GRAM_FIRST ? i == 0
                           : ensemble->gram_teacher == ENSEMBLE_GRAM_MEAN
                               ? teaches
                               : teaches && chosen-- == 0;
        if (teaches || shows)
            members[count++] = (struct ensemble_member){i, share[i], shows};
    }
    return count;
}

bool ensemble_many_maps(const struct ensemble *ensemble, int teachers)
{
    return ensemble->gram_teacher == ENSEMBLE_GRAM_MEAN && teachers > 1 &&
           !(ensemble->rule == ENSEMBLE_RANDOM_K && ensemble->k == 1);
}
