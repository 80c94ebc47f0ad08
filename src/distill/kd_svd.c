/* kd_svd.c - KD-SVD (Lee, Kim, Song, "Self-supervised Knowledge Distillation Using Singular Value
 * Decomposition", ECCV 2018, section 3): the directions in which a map's channels go together, and
 * how those of neighbouring taps are related.
 *
 * A tap of one image is a matrix of positions by channels; s[q] are its first `vectors` singular
 * values, v[q] its right singular vectors, one number per channel:
 *
 *     t[q] = s_T[q] / ||s_T||                           the teacher's values, as weights
 *     D_T[q] = t[q] v_T[q]
 *     D_S[q] = t[q] (+ or -) v_S[c]                     c: the student's vector that is nearest to
 *                                                       v_T[q] (largest |cosine|), turned to it
 *     K[q][i][j] = exp(-(D[q][i] at tap a - D[q][j] at tap b)^2 / 8)      for neighbours a, b
 *     value = batch mean of the sum over neighbours, q, i, j of (K_S - K_T)^2
 *
 * c is one of the student's first vectors + spare. Channels must agree, positions need not. The
 * norm of the gradient, which the paper ties to that of the task's, is not this loss's affair.
 *
 * Ours: the mean over the batch (the authors' program has half the sum over the batch times the
 * root of `vectors`); the teacher's vectors are turned so that the sum of their numbers is not
 * negative, as signs of singular vectors are arbitrary and K depends on those of neighbours; with
 * several teachers D_T and t are means by their shares, each teacher's D_T[q] turned to the mean of
 * those before; vectors that a map does not have (zeros, low rank) are zeros; the student's
 * gradient is bounded where singular values meet (singular.c), and does not know of the choice of
 * c. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "distill/singular.h"
#include "distill/taps.h"

static const double WIDTH = 8; /* 2 sigma^2 */

struct kd_svd_settings {
    struct loss_weight weight;
    struct text_list taps;
    int vectors, spare;
};
static const struct setting kd_svd_rows[] = {
    LOSS_WEIGHT_ROWS(struct kd_svd_settings, "1"),
    {"taps", SETTING_TEXTS, offsetof(struct kd_svd_settings, taps), .fallback = "",
     .help = "the taps whose neighbours are related; empty: all"},
    {"vectors", SETTING_INT, offsetof(struct kd_svd_settings, vectors), .low = 1, .high = 64,
     .fallback = "1", .help = "singular vectors of each map that are compared"},
    {"spare", SETTING_INT, offsetof(struct kd_svd_settings, spare), .low = 0, .high = 64,
     .fallback = "3",
     .help = "further vectors of the student that may be nearest to the teacher's"},
};
static const struct setting_table kd_svd_table =
    SETTING_TABLE("kd_svd", struct kd_svd_settings, kd_svd_rows);

/* One tap. */
struct svd_tap {
    int tap, channels;
    int positions[2]; /* student, teacher */
    size_t kept;      /* place in what is kept of an image: D_T, then t */
};

/* One tap of one image, as a thread works on it. */
struct svd_work {
    float *rows;
    double *storage; /* of singular */
    struct singular singular;
    double *d;     /* (vectors, channels) D_S */
    double *diff;  /* (vectors, channels) gradient by it, then by the student's vectors */
    int *nearest;  /* (vectors) c, or -1: there is none */
    double *turns; /* (vectors) t with the sign */
    double *back;  /* (positions, channels) gradient by the map */
};

struct kd_svd {
    struct arena arena;
    int n, count, vectors, candidates, threads;
    struct svd_tap *taps;
    struct svd_work *work; /* (threads, count) */
    struct teacher_mean mean;
    size_t kept_count; /* numbers of an image */
    double *kept;      /* (n, kept_count) */
    double *values;    /* (n); summed in order, so threads do not change the sum */
};

static void kd_svd_destroy(void *state)
{
    struct kd_svd *svd = state;
    if (!svd)
        return;
    arena_release(&svd->arena);
    free(svd->kept);
    free(svd);
}

/* ---- making one ---- */

static enum retort_status add_tap(struct kd_svd *svd, const struct loss_shapes *shapes, int number)
{
    const struct tensor *student = &shapes->student_taps[number];
    const struct tensor *teacher = &shapes->teacher_taps[number];
    TRY(tap_check_channels("kd_svd", shapes, number));
    svd->taps[svd->count++] = (struct svd_tap){
        number, student->c, {student->h * student->w, teacher->h * teacher->w}, svd->kept_count};
    svd->kept_count += (size_t)svd->vectors * (size_t)(student->c + 1);
    return RETORT_OK;
}

static enum retort_status add_taps(struct kd_svd *svd, const struct text_list *names,
                                   const struct loss_shapes *shapes)
{
    const size_t count = (size_t)shapes->tap_count;
    bool *chosen;
    TRY(arena_take(&svd->arena, count * sizeof(*chosen), (void **)&chosen));
    TRY(arena_take(&svd->arena, count * sizeof(*svd->taps), (void **)&svd->taps));
    TRY(taps_choose("kd_svd.taps", names, shapes, chosen));
    for (int tap = 0; tap < shapes->tap_count; tap++)
        if (chosen[tap])
            TRY(add_tap(svd, shapes, tap));
    if (svd->count < 2)
        return fail(RETORT_INVALID, "kd_svd.taps: only %s found, at least two taps wanted",
                    shapes->tap_names[svd->taps[0].tap]);
    return RETORT_OK;
}

static enum retort_status take(struct kd_svd *svd, size_t count, size_t size, void *place)
{
    return arena_take(&svd->arena, count * size, place);
}

static enum retort_status make_work(struct kd_svd *svd, const struct svd_tap *tap,
                                    struct svd_work *work)
{
    const size_t vectors = (size_t)svd->vectors, channels = (size_t)tap->channels;
    const int *positions = tap->positions;
    const size_t most = (size_t)(positions[0] > positions[1] ? positions[0] : positions[1]);
    const size_t student = singular_doubles(positions[0], tap->channels, svd->candidates);
    const size_t teacher = singular_doubles(positions[1], tap->channels, svd->vectors);
    TRY(take(svd, most * channels, sizeof(float), &work->rows));
    TRY(take(svd, student > teacher ? student : teacher, sizeof(double), &work->storage));
    TRY(take(svd, vectors * channels, sizeof(double), &work->d));
    TRY(take(svd, vectors * channels, sizeof(double), &work->diff));
    TRY(take(svd, vectors, sizeof(int), &work->nearest));
    TRY(take(svd, vectors, sizeof(double), &work->turns));
    return take(svd, (size_t)positions[0] * channels, sizeof(double), &work->back);
}

static enum retort_status prepare(struct kd_svd *svd, const struct kd_svd_settings *wanted,
                                  const struct loss_shapes *shapes)
{
    svd->n = shapes->n;
    svd->vectors = wanted->vectors;
    svd->candidates = wanted->vectors + wanted->spare;
    svd->threads = omp_get_max_threads();
    TRY(add_taps(svd, &wanted->taps, shapes));
    const int works = svd->threads * svd->count;
    TRY(take(svd, (size_t)works, sizeof(*svd->work), &svd->work));
    for (int i = 0; i < works; i++)
        TRY(make_work(svd, &svd->taps[i % svd->count], &svd->work[i]));
    TRY(take(svd, (size_t)svd->n, sizeof(double), &svd->values));
    return memory_zeroed((size_t)svd->n, svd->kept_count * sizeof(double), (void **)&svd->kept);
}

static enum retort_status kd_svd_create(const void *settings, const struct loss_shapes *shapes,
                                        void **state)
{
    enum retort_status status;
    struct kd_svd *svd = NULL;
    TRY(memory_zeroed(1, sizeof(*svd), (void **)&svd));
    TRY_DONE(prepare(svd, settings, shapes));
    *state = svd;
    return RETORT_OK;
done:
    kd_svd_destroy(svd);
    return status;
}

static bool kd_svd_uses_tap(const void *state, int tap)
{
    const struct kd_svd *svd = state;
    for (int i = 0; i < svd->count; i++)
        if (svd->taps[i].tap == tap)
            return true;
    return false;
}

static bool kd_svd_pair(const void *state, int index, int taps[2])
{
    const struct kd_svd *svd = state;
    if (index + 1 >= svd->count)
        return false;
    taps[0] = svd->taps[index].tap;
    taps[1] = svd->taps[index + 1].tap;
    return true;
}

static void kd_svd_begin(void *state)
{
    struct kd_svd *svd = state;
    svd->mean = (struct teacher_mean){0};
}

/* ---- vectors ---- */

static struct svd_work *work_of(const struct kd_svd *svd, int index)
{
    return &svd->work[omp_get_thread_num() * svd->count + index];
}

static void find_vectors(const struct svd_tap *tap, const struct tensor *taps, int image,
                         int positions, int wanted, struct svd_work *work)
{
    tap_load(&taps[tap->tap], image, work->rows);
    singular_place(&work->singular, positions, tap->channels, wanted, work->storage);
    singular_find(&work->singular, work->rows);
}

static double *kept_vectors(const struct kd_svd *svd, const struct svd_tap *tap, int image)
{
    return svd->kept + (size_t)image * svd->kept_count + tap->kept;
}

static double *kept_weights(const struct kd_svd *svd, const struct svd_tap *tap, int image)
{
    return kept_vectors(svd, tap, image) + (size_t)svd->vectors * (size_t)tap->channels;
}

static double dot(const double *a, const double *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- teachers ---- */

/* +1, or -1 to turn a teacher's vector: the first one by the sum of its numbers, others to the mean
 * of those before. */
static double sign_of(const double *vector, const double *kept, int channels, bool first)
{
    double sum = 0;
    for (int c = 0; c < channels; c++)
        sum += first ? vector[c] : vector[c] * kept[c];
    return sum < 0 ? -1 : 1;
}

static void keep_vector(const struct svd_work *work, int q, double weight, double part,
                        double *kept)
{
    const struct singular *singular = &work->singular;
    const double *v = singular->v + (size_t)q * (size_t)singular->columns;
    const bool some = q < singular->found;
    const double scale = some ? weight * sign_of(v, kept, singular->columns, part == 1) : 0;
    for (int c = 0; c < singular->columns; c++) {
        const double now = some ? scale * v[c] : 0;
        kept[c] = part == 1 ? now : kept[c] + part * (now - kept[c]);
    }
}

static void keep_tap(const struct kd_svd *svd, const struct svd_tap *tap,
                     const struct svd_work *work, int image, double part)
{
    const struct singular *singular = &work->singular;
    double *vectors = kept_vectors(svd, tap, image), *weights = kept_weights(svd, tap, image);
    double squares = 0;
    for (int q = 0; q < singular->found; q++)
        squares += singular->squares[q];
    for (int q = 0; q < svd->vectors; q++) {
        const double weight = q < singular->found ? sqrt(singular->squares[q] / squares) : 0;
        keep_vector(work, q, weight, part, vectors + (size_t)q * (size_t)tap->channels);
        weights[q] = part == 1 ? weight : weights[q] + part * (weight - weights[q]);
    }
}

static void kd_svd_teacher(void *state, const struct teacher_view *teacher)
{
    struct kd_svd *svd = state;
    if (!teacher->maps)
        return;
    const double part = teacher_mean_part(&svd->mean, teacher->map_share);
#pragma omp parallel for schedule(static) num_threads(svd->threads)
    for (int image = 0; image < svd->n; image++)
        for (int i = 0; i < svd->count; i++) {
            const struct svd_tap *tap = &svd->taps[i];
            struct svd_work *work = work_of(svd, i);
            find_vectors(tap, teacher->taps, image, tap->positions[1], svd->vectors, work);
            keep_tap(svd, tap, work, image, part);
        }
}

/* ---- the student ---- */

/* D_S of one tap. */
static void align(const struct kd_svd *svd, const struct svd_tap *tap, int image,
                  struct svd_work *work)
{
    const struct singular *singular = &work->singular;
    const size_t channels = (size_t)tap->channels;
    const double *weights = kept_weights(svd, tap, image);
    for (int q = 0; q < svd->vectors; q++) {
        const double *theirs = kept_vectors(svd, tap, image) + (size_t)q * channels;
        double best = 0;
        work->nearest[q] = singular->found ? 0 : -1;
        for (int c = 0; c < singular->found; c++) {
            const double cosine = dot(singular->v + (size_t)c * channels, theirs, tap->channels);
            if (c == 0 || fabs(cosine) > fabs(best)) {
                best = cosine;
                work->nearest[q] = c;
            }
        }
        work->turns[q] = best < 0 ? -weights[q] : weights[q];
        for (size_t c = 0; c < channels; c++)
            work->d[(size_t)q * channels + c] =
                singular->found
                    ? work->turns[q] * singular->v[(size_t)work->nearest[q] * channels + c]
                    : 0;
    }
}

/* One row of K: a number of tap a and all of tap b, with those of the teacher. Adds factor times
 * the gradients. */
static double compare_row(const double *ours, double *diff, const double *theirs, int count,
                          const double *at_a, double *diff_a, double factor)
{
    double value = 0, sum = 0;
    for (int j = 0; j < count; j++) {
        const double gap = at_a[0] - ours[j], other = at_a[1] - theirs[j];
        const double k = exp(-gap * gap / WIDTH);
        const double difference = k - exp(-other * other / WIDTH);
        const double slope = factor * 2 * difference * k * (-2 * gap / WIDTH);
        value += difference * difference;
        sum += slope;
        diff[j] -= slope;
    }
    *diff_a += sum;
    return value;
}

/* Taps number i and i + 1. */
static double compare_pair(const struct kd_svd *svd, int image, int i, double factor)
{
    const struct svd_tap *a = &svd->taps[i], *b = &svd->taps[i + 1];
    const struct svd_work *work_a = work_of(svd, i), *work_b = work_of(svd, i + 1);
    const double *theirs_a = kept_vectors(svd, a, image), *theirs_b = kept_vectors(svd, b, image);
    double value = 0;
    for (int q = 0; q < svd->vectors; q++) {
        const size_t at_a = (size_t)q * (size_t)a->channels, at_b = (size_t)q * (size_t)b->channels;
        for (int c = 0; c < a->channels; c++) {
            const size_t here = at_a + (size_t)c;
            const double numbers[] = {work_a->d[here], theirs_a[here]};
            value += compare_row(work_b->d + at_b, work_b->diff + at_b, theirs_b + at_b,
                                 b->channels, numbers, work_a->diff + here, factor);
        }
    }
    return value;
}

/* From the gradient by D_S to that by the map. */
static void go_back(const struct kd_svd *svd, const struct svd_tap *tap, struct svd_work *work)
{
    const size_t channels = (size_t)tap->channels, count = (size_t)tap->positions[0] * channels;
    memset(work->back, 0, count * sizeof(double));
    for (int q = 0; q < svd->vectors; q++) {
        double *diff = work->diff + (size_t)q * channels;
        for (size_t c = 0; c < channels; c++)
            diff[c] *= work->turns[q];
        if (work->nearest[q] >= 0)
            singular_back(&work->singular, work->nearest[q], diff, work->back);
    }
    for (size_t i = 0; i < count; i++)
        work->rows[i] = (float)work->back[i];
}

static double student_image(const struct kd_svd *svd, int image, double factor,
                            const struct student_view *student)
{
    double value = 0;
    for (int i = 0; i < svd->count; i++) {
        const struct svd_tap *tap = &svd->taps[i];
        struct svd_work *work = work_of(svd, i);
        find_vectors(tap, student->taps, image, tap->positions[0], svd->candidates, work);
        align(svd, tap, image, work);
        memset(work->diff, 0, (size_t)svd->vectors * (size_t)tap->channels * sizeof(double));
    }
    for (int i = 0; i + 1 < svd->count; i++)
        value += compare_pair(svd, image, i, factor);
    for (int i = 0; i < svd->count; i++) {
        struct svd_work *work = work_of(svd, i);
        go_back(svd, &svd->taps[i], work);
        tap_add(&student->diff_taps[svd->taps[i].tap], image, work->rows);
    }
    return value;
}

static double kd_svd_student(void *state, double weight, const struct student_view *student)
{
    struct kd_svd *svd = state;
    assert(svd->mean.teachers > 0);
#pragma omp parallel for schedule(static) num_threads(svd->threads)
    for (int image = 0; image < svd->n; image++)
        svd->values[image] = student_image(svd, image, weight / svd->n, student);
    for (int i = 0; i < svd->count; i++)
        student->diff_taps[svd->taps[i].tap].defined = true;
    double value = 0;
    for (int image = 0; image < svd->n; image++)
        value += svd->values[image];
    return value / svd->n;
}

const struct loss loss_kd_svd = {
    .name = "kd_svd",
    .settings = &kd_svd_table,
    .needs_teacher = true,
    .create = kd_svd_create,
    .destroy = kd_svd_destroy,
    .uses_tap = kd_svd_uses_tap,
    .pair = kd_svd_pair,
    .begin = kd_svd_begin,
    .teacher = kd_svd_teacher,
    .student = kd_svd_student,
};
