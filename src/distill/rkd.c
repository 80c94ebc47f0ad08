/* rkd.c - relational distillation (Park et al., "Relational Knowledge Distillation", CVPR 2019):
 * how far apart the images of a batch lie, and at which angles, in an embedding of either network.
 *
 *     psi_D(i, j)    = D[i][j] / mu,   D[i][j] = ||e_i - e_j||, mu = mean of D over pairs    eq. 6
 *     psi_A(i, j, k) = cosine of the angle at j between e_i - e_j and e_k - e_j              eq. 8
 *     value = distance * mean over i, j    of huber(psi_D of student - of teacher)           eq. 7
 *           + angle    * mean over i, j, k of huber(psi_A of student - of teacher)           eq. 9
 *     huber(x) = x^2 / 2 where |x| <= 1, else |x| - 1/2                                      eq. 5
 *
 * The means are over all n^2 and n^3 tuples, those with equal members too, as the weights 25 and 50
 * of the paper are used in public comparisons. The embedding is a tap, averaged over its positions,
 * or the logits. Its size may differ between the networks. With several teachers psi is the mean of
 * theirs, weighted by their shares.
 *
 * All of it is a function of the inner products K[i][j] = e_i . e_j of the embedding, with its mean
 * over the batch subtracted, for the numbers' sake:
 *
 *     D^2 = K[i][i] + K[j][j] - 2 K[i][j]
 *     psi_A = (K[i][k] - K[i][j] - K[j][k] + K[j][j]) / (D[i][j] D[j][k])
 *
 * so the gradient is put together by K, and dL/de_i = sum over k of (dK[i][k] + dK[k][i]) e_k; what
 * is done n^3 times does not depend on the size of the embedding. Images that coincide (D^2 at most
 * 1e-12 of K[i][i] + K[j][j]) have D = 0, do not count in mu, have no direction (psi_A is 0), and
 * get no gradient from each other. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "distill/taps.h"

enum rkd_on { RKD_TAP, RKD_LOGITS };
static const double COINCIDE = 1e-12;

struct rkd_settings {
    struct loss_weight weight;
    double distance, angle;
    int on; /* enum rkd_on */
    const char *tap;
};
static const char *const on_words[] = {"tap", "logits", NULL};
static const struct setting rkd_rows[] = {
    LOSS_WEIGHT_ROWS(struct rkd_settings, "1"),
    {"distance", SETTING_NUMBER, offsetof(struct rkd_settings, distance), .low = 0, .high = 1e6,
     .fallback = "25", .help = "factor of the part on distances"},
    {"angle", SETTING_NUMBER, offsetof(struct rkd_settings, angle), .low = 0, .high = 1e6,
     .fallback = "50", .help = "factor of the part on angles"},
    {"on", SETTING_CHOICE, offsetof(struct rkd_settings, on), .choices = on_words,
     .fallback = "tap",
     .help = "what the relations are of: a tap averaged over its positions, or "
             "the logits"},
    {"tap", SETTING_TEXT, offsetof(struct rkd_settings, tap), .fallback = "",
     .help = "on tap: which one; empty: the last"},
};
static const struct setting_table rkd_table = SETTING_TABLE("rkd", struct rkd_settings, rkd_rows);

/* A batch seen by one network. */
struct relations {
    int size;        /* of the embedding */
    double *e;       /* (n, size), the mean subtracted */
    double *k;       /* (n, n) inner products */
    double *d;       /* (n, n) distances */
    double *inverse; /* (n, n) 1 / d, or 0 where images coincide */
    double mu;       /* mean distance; 1 where all coincide */
    double pairs;    /* ordered pairs that do not coincide */
};

struct rkd {
    int n, tap; /* tap -1: logits */
    double distance, angle;
    struct arena arena;
    struct relations student, teacher;
    struct teacher_mean mean;
    double *psi_d;  /* (n, n) of the teachers */
    float *psi_a;   /* (n, n, n) of the teachers, NULL when angles do not count */
    double *values; /* (n), summed in order, so threads do not change the sum */
    double *diff_k; /* (n, n) gradient by K */
    double *ends;   /* (n, n) [i][j]: sum over k of the gradient by K[i][k], corner j */
    double *turns;  /* (n, n) [i][j]: sum over k of psi_A times its gradient, corner j */
    int threads;
    size_t row_floats; /* per thread: a map */
    float *rows;
};

static void rkd_destroy(void *state)
{
    struct rkd *rkd = state;
    if (!rkd)
        return;
    free(rkd->psi_a);
    free(rkd->rows);
    arena_release(&rkd->arena);
    free(rkd);
}

/* ---- making one ---- */

static enum retort_status take_numbers(struct rkd *rkd, size_t count, double **numbers)
{
    return arena_take(&rkd->arena, count * sizeof(double), (void **)numbers);
}

static enum retort_status make_relations(struct rkd *rkd, int size, struct relations *relations)
{
    const size_t n = (size_t)rkd->n;
    relations->size = size;
    TRY(take_numbers(rkd, n * (size_t)size, &relations->e));
    TRY(take_numbers(rkd, n * n, &relations->k));
    TRY(take_numbers(rkd, n * n, &relations->d));
    return take_numbers(rkd, n * n, &relations->inverse);
}

static enum retort_status make_embeddings(struct rkd *rkd, const struct loss_shapes *shapes)
{
    if (rkd->tap < 0) {
        TRY(make_relations(rkd, shapes->classes, &rkd->student));
        return make_relations(rkd, shapes->classes, &rkd->teacher);
    }
    const struct tensor *student = &shapes->student_taps[rkd->tap];
    const struct tensor *teacher = &shapes->teacher_taps[rkd->tap];
    const size_t ours = tap_floats(student), theirs = tap_floats(teacher);
    rkd->row_floats = ours > theirs ? ours : theirs;
    TRY(memory_zeroed((size_t)rkd->threads, rkd->row_floats * sizeof(float), (void **)&rkd->rows));
    TRY(make_relations(rkd, student->c, &rkd->student));
    return make_relations(rkd, teacher->c, &rkd->teacher);
}

static enum retort_status prepare(struct rkd *rkd, const struct rkd_settings *wanted,
                                  const struct loss_shapes *shapes)
{
    const size_t n = (size_t)shapes->n;
    *rkd = (struct rkd){.n = shapes->n,
                        .tap = -1,
                        .distance = wanted->distance,
                        .angle = wanted->angle,
                        .threads = omp_get_max_threads()};
    if (wanted->on != RKD_TAP && wanted->tap[0])
        return fail(RETORT_INVALID, "rkd.tap: %s found, but rkd.on is logits: one of them wanted",
                    wanted->tap);
    if (wanted->on == RKD_TAP)
        TRY(tap_choose("rkd.tap", wanted->tap, shapes->tap_count - 1, shapes, &rkd->tap));
    TRY(make_embeddings(rkd, shapes));
    TRY(take_numbers(rkd, n * n, &rkd->psi_d));
    TRY(take_numbers(rkd, n * n, &rkd->diff_k));
    TRY(take_numbers(rkd, n * n, &rkd->ends));
    TRY(take_numbers(rkd, n * n, &rkd->turns));
    TRY(take_numbers(rkd, n, &rkd->values));
    return rkd->angle > 0 ? memory_zeroed(n * n, n * sizeof(float), (void **)&rkd->psi_a)
                          : RETORT_OK;
}

static enum retort_status rkd_create(const void *settings, const struct loss_shapes *shapes,
                                     void **state)
{
    enum retort_status status;
    struct rkd *rkd = NULL;
    TRY(memory_zeroed(1, sizeof(*rkd), (void **)&rkd));
    TRY_DONE(prepare(rkd, settings, shapes));
    *state = rkd;
    return RETORT_OK;
done:
    rkd_destroy(rkd);
    return status;
}

static bool rkd_uses_tap(const void *state, int tap)
{
    const struct rkd *rkd = state;
    return tap == rkd->tap;
}

static void rkd_begin(void *state)
{
    struct rkd *rkd = state;
    rkd->mean = (struct teacher_mean){0};
}

/* ---- embeddings ---- */

static float *rows_of_thread(const struct rkd *rkd)
{
    return rkd->rows + (size_t)omp_get_thread_num() * rkd->row_floats;
}

static void embed_map(const struct rkd *rkd, const struct tensor *map, int image, double *e)
{
    const int positions = map->h * map->w;
    float *rows = rows_of_thread(rkd);
    tap_load(map, image, rows);
    memset(e, 0, (size_t)map->c * sizeof(double));
    for (int p = 0; p < positions; p++)
        for (int c = 0; c < map->c; c++)
            e[c] += rows[(size_t)p * (size_t)map->c + (size_t)c];
    for (int c = 0; c < map->c; c++)
        e[c] /= positions;
}

static void subtract_mean(struct relations *relations, int n)
{
    for (int c = 0; c < relations->size; c++) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += relations->e[(size_t)i * (size_t)relations->size + (size_t)c];
        for (int i = 0; i < n; i++)
            relations->e[(size_t)i * (size_t)relations->size + (size_t)c] -= sum / n;
    }
}

static void embed(const struct rkd *rkd, struct relations *relations, const struct tensor *taps,
                  const float *logits)
{
    const size_t size = (size_t)relations->size;
#pragma omp parallel for schedule(static) num_threads(rkd->threads)
    for (int i = 0; i < rkd->n; i++) {
        double *e = relations->e + (size_t)i * size;
        if (rkd->tap >= 0)
            embed_map(rkd, &taps[rkd->tap], i, e);
        else
            for (size_t c = 0; c < size; c++)
                e[c] = logits[(size_t)i * size + c];
    }
    subtract_mean(relations, rkd->n);
}

/* ---- relations ---- */

static void relate_image(struct relations *relations, int n, int i)
{
    const int size = relations->size;
    const double *a = relations->e + (size_t)i * (size_t)size;
    for (int j = 0; j < n; j++) {
        const double *b = relations->e + (size_t)j * (size_t)size;
        double product = 0, square = 0, sizes = 0;
        for (int c = 0; c < size; c++) {
            product += a[c] * b[c];
            square += (a[c] - b[c]) * (a[c] - b[c]);
            sizes += a[c] * a[c] + b[c] * b[c];
        }
        const size_t at = (size_t)i * (size_t)n + (size_t)j;
        const bool apart = square > COINCIDE * sizes;
        relations->k[at] = product;
        relations->d[at] = apart ? sqrt(square) : 0;
        relations->inverse[at] = apart ? 1 / sqrt(square) : 0;
    }
}

static void relate(const struct rkd *rkd, struct relations *relations, const struct tensor *taps,
                   const float *logits)
{
    const size_t pairs = (size_t)rkd->n * (size_t)rkd->n;
    double sum = 0;
    embed(rkd, relations, taps, logits);
#pragma omp parallel for schedule(static) num_threads(rkd->threads)
    for (int i = 0; i < rkd->n; i++)
        relate_image(relations, rkd->n, i);
    relations->pairs = 0;
    for (size_t at = 0; at < pairs; at++) {
        sum += relations->d[at];
        relations->pairs += relations->d[at] > 0;
    }
    relations->mu = relations->pairs > 0 ? sum / relations->pairs : 1;
}

/* psi_A(i, j, k), from rows i and j of the inner products and row j of 1 / D. */
static inline double cosine(const double *ki, const double *kj, const double *inverse_j, int i,
                            int j, int k)
{
    return (ki[k] - ki[j] - kj[k] + kj[j]) * inverse_j[i] * inverse_j[k];
}

static size_t row_of(const struct rkd *rkd, int i)
{
    return (size_t)i * (size_t)rkd->n;
}

/* ---- teachers ---- */

static void keep_angles(const struct rkd *rkd, int i, double part)
{
    const struct relations *r = &rkd->teacher;
    for (int j = 0; j < rkd->n; j++) {
        float *psi = rkd->psi_a + (row_of(rkd, i) + (size_t)j) * (size_t)rkd->n;
        const double *ki = r->k + row_of(rkd, i), *kj = r->k + row_of(rkd, j);
        const double *inverse = r->inverse + row_of(rkd, j);
        for (int k = 0; k < rkd->n; k++) {
            const double now = cosine(ki, kj, inverse, i, j, k);
            psi[k] = (float)(part == 1 ? now : psi[k] + part * (now - psi[k]));
        }
    }
}

static void rkd_teacher(void *state, const struct teacher_view *teacher)
{
    struct rkd *rkd = state;
    if (rkd->tap >= 0 && !teacher->maps)
        return;
    const double part =
        teacher_mean_part(&rkd->mean, rkd->tap >= 0 ? teacher->map_share : teacher->share);
    relate(rkd, &rkd->teacher, teacher->taps, teacher->logits);
#pragma omp parallel for schedule(static) num_threads(rkd->threads)
    for (int i = 0; i < rkd->n; i++) {
        double *psi = rkd->psi_d + row_of(rkd, i);
        for (int j = 0; j < rkd->n; j++) {
            const double now = rkd->teacher.d[row_of(rkd, i) + (size_t)j] / rkd->teacher.mu;
            psi[j] = part == 1 ? now : psi[j] + part * (now - psi[j]);
        }
        if (rkd->psi_a)
            keep_angles(rkd, i, part);
    }
}

/* ---- the student ---- */

static inline double huber(double x)
{
    return fabs(x) <= 1 ? x * x / 2 : fabs(x) - 0.5;
}

static inline double huber_slope(double x)
{
    return fmax(-1, fmin(1, x));
}

/* The angles with an arm from j to image i, for all j and the other arm's ends k: their value, the
 * gradient by K[i][k], and what the gradients by the other inner products and by distances need. */
static double compare_angles(struct rkd *rkd, int i)
{
    const struct relations *r = &rkd->student;
    const double scale = rkd->angle / ((double)rkd->n * rkd->n * rkd->n);
    double value = 0;
    for (int j = 0; j < rkd->n; j++) {
        const size_t at = row_of(rkd, i) + (size_t)j;
        const float *psi = rkd->psi_a + at * (size_t)rkd->n;
        const double *ki = r->k + row_of(rkd, i), *kj = r->k + row_of(rkd, j);
        const double *inverse = r->inverse + row_of(rkd, j);
        double *diff = rkd->diff_k + row_of(rkd, i), ends = 0, turns = 0, sum = 0;
        for (int k = 0; k < rkd->n; k++) {
            const double now = cosine(ki, kj, inverse, i, j, k), gap = now - psi[k];
            const double slope = scale * huber_slope(gap);
            const double end = slope * inverse[i] * inverse[k];
            sum += huber(gap);
            diff[k] += end;
            ends += end;
            turns += slope * now;
        }
        rkd->ends[at] = ends;
        rkd->turns[at] = turns;
        value += scale * sum;
    }
    return value;
}

/* The value; turns gets -1/2 times the gradient by D added, which is how angles leave it there. */
static double compare_distances(struct rkd *rkd)
{
    const struct relations *r = &rkd->student;
    const size_t pairs = (size_t)rkd->n * (size_t)rkd->n;
    const double scale = rkd->distance / ((double)rkd->n * rkd->n);
    double value = 0, along = 0;
    for (size_t at = 0; at < pairs; at++) {
        const double gap = r->d[at] / r->mu - rkd->psi_d[at];
        value += scale * huber(gap);
        along += scale * huber_slope(gap) * r->d[at];
    }
    for (size_t at = 0; at < pairs; at++) {
        const double gap = r->d[at] / r->mu - rkd->psi_d[at];
        const double diff =
            scale * huber_slope(gap) / r->mu - along / (r->mu * r->mu * fmax(r->pairs, 1));
        rkd->turns[at] -= 0.5 * diff * r->d[at];
    }
    return value;
}

/* Complete the gradient by K. An angle at j has the other arm by symmetry, so what ends and turns
 * say of the first arm counts for both. */
static void finish_diff(struct rkd *rkd)
{
    const struct relations *r = &rkd->student;
    for (int i = 0; i < rkd->n; i++)
        for (int j = 0; j < rkd->n; j++) {
            const size_t at = row_of(rkd, i) + (size_t)j, across = row_of(rkd, j) + (size_t)i;
            const size_t ii = row_of(rkd, i) + (size_t)i, jj = row_of(rkd, j) + (size_t)j;
            const double ends = rkd->ends[at];
            /* by D: -2 turns / D; by D^2 that over 2 D */
            const double square = -rkd->turns[at] * r->inverse[at] * r->inverse[at];
            rkd->diff_k[at] -= ends + 2 * square;
            rkd->diff_k[across] -= ends;
            rkd->diff_k[jj] += ends + square;
            rkd->diff_k[ii] += square;
        }
}

/* Channel c of the gradient of image i. */
static double diff_at(const struct rkd *rkd, int i, int c)
{
    double sum = 0;
    for (int k = 0; k < rkd->n; k++) {
        const double both =
            rkd->diff_k[row_of(rkd, i) + (size_t)k] + rkd->diff_k[row_of(rkd, k) + (size_t)i];
        sum += both * rkd->student.e[(size_t)k * (size_t)rkd->student.size + (size_t)c];
    }
    return sum;
}

static void add_image(const struct rkd *rkd, int i, double weight,
                      const struct student_view *student)
{
    const int size = rkd->student.size;
    if (rkd->tap < 0) {
        for (int c = 0; c < size; c++)
            student->diff_logits[(size_t)i * (size_t)size + (size_t)c] +=
                (float)(weight * diff_at(rkd, i, c));
        return;
    }
    const struct gradient *gradient = &student->diff_taps[rkd->tap];
    const int positions = gradient->tensor.h * gradient->tensor.w;
    float *rows = rows_of_thread(rkd);
    for (int c = 0; c < size; c++)
        rows[c] = (float)(weight * diff_at(rkd, i, c) / positions);
    for (int p = 1; p < positions; p++)
        memcpy(rows + (size_t)p * (size_t)size, rows, (size_t)size * sizeof(float));
    tap_add(gradient, i, rows);
}

static void forget_diffs(struct rkd *rkd)
{
    const size_t bytes = (size_t)rkd->n * (size_t)rkd->n * sizeof(double);
    memset(rkd->diff_k, 0, bytes);
    memset(rkd->ends, 0, bytes);
    memset(rkd->turns, 0, bytes);
}

static double rkd_student(void *state, double weight, const struct student_view *student)
{
    struct rkd *rkd = state;
    assert(rkd->mean.teachers > 0);
    relate(rkd, &rkd->student, student->taps, student->logits);
    forget_diffs(rkd);
#pragma omp parallel for schedule(static) num_threads(rkd->threads)
    for (int i = 0; i < rkd->n; i++)
        rkd->values[i] = rkd->psi_a ? compare_angles(rkd, i) : 0;
    double value = compare_distances(rkd);
    for (int i = 0; i < rkd->n; i++)
        value += rkd->values[i];
    finish_diff(rkd);
#pragma omp parallel for schedule(static) num_threads(rkd->threads)
    for (int i = 0; i < rkd->n; i++)
        add_image(rkd, i, weight, student);
    if (rkd->tap >= 0)
        student->diff_taps[rkd->tap].defined = true;
    return value;
}

const struct loss loss_rkd = {
    .name = "rkd",
    .settings = &rkd_table,
    .needs_teacher = true,
    .create = rkd_create,
    .destroy = rkd_destroy,
    .uses_tap = rkd_uses_tap,
    .begin = rkd_begin,
    .teacher = rkd_teacher,
    .student = rkd_student,
};
