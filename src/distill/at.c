/* at.c - attention transfer (Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR
 * 2017): where a network looks, tap by tap.
 *
 *     Q[position] = sum over channels of |F[position][channel]|^p     F_sum^p, section 3.1
 *     A = Q / ||Q||_2                                                 one vector per image and tap
 *     l2            batch mean of 1/2 * sum over taps of ||A_S - A_T||_2      equation 2
 *     mean-square   batch mean of sum over taps of the mean over positions of (A_S - A_T)^2
 *
 * The second one is how the method is computed in public comparisons, and what their weights (1000)
 * belong to. Channels need not agree. Where sizes differ, Q of the larger map is averaged down to
 * the size of the smaller one; sizes that do not divide are an error.
 *
 * With several teachers A_T is the mean of theirs, weighted by their shares. A norm below 1e-12
 * counts as 1e-12, so a map of zeros has A = 0 and finite gradients; at distance 0, where l2 has no
 * gradient, it is taken as 0. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "distill/taps.h"

enum at_norm { AT_L2, AT_MEAN_SQUARE };
static const double LEAST_NORM = 1e-12;

struct at_settings {
    struct loss_weight weight;
    double p;
    struct text_list taps;
    int norm; /* enum at_norm */
};
static const char *const norm_words[] = {"l2", "mean-square", NULL};
static const struct setting at_rows[] = {
    LOSS_WEIGHT_ROWS(struct at_settings, "1"),
    {"p", SETTING_NUMBER, offsetof(struct at_settings, p), .low = 1, .high = 16, .fallback = "2",
     .help = "the power of a map's numbers whose sum over the channels is the attention"},
    {"taps", SETTING_TEXTS, offsetof(struct at_settings, taps), .fallback = "",
     .help = "the taps that are compared; empty: all"},
    {"norm", SETTING_CHOICE, offsetof(struct at_settings, norm), .choices = norm_words,
     .fallback = "l2", .help = "which published definition: half the distance, or the mean square"},
};
static const struct setting_table at_table = SETTING_TABLE("at", struct at_settings, at_rows);

/* A tap that is compared, at the size h x w of the smaller of both maps. */
struct at_tap {
    int tap, h, w;
    size_t kept; /* place in what is kept of an image */
};

struct at {
    struct arena arena;
    int n, count;
    enum at_norm norm;
    double p;
    struct at_tap *taps;
    struct teacher_mean mean;
    size_t kept_count; /* numbers of an image */
    double *kept;      /* (n, kept_count): A_T, tap after tap */
    double *values;    /* (n); summed in order, so threads do not change the sum */
    int threads;
    size_t rows_count, sums_count; /* of one thread */
    float *rows;                   /* one map */
    double *sums;                  /* Q, then A and its gradient: three times sums_count */
};

static void at_destroy(void *state)
{
    struct at *at = state;
    if (!at)
        return;
    free(at->kept);
    free(at->values);
    free(at->rows);
    free(at->sums);
    arena_release(&at->arena);
    free(at);
}

/* ---- making one ---- */

static enum retort_status check_division(const struct loss_shapes *shapes, const struct at_tap *tap)
{
    const struct tensor *a = &shapes->student_taps[tap->tap], *b = &shapes->teacher_taps[tap->tap];
    if (a->h % tap->h || b->h % tap->h || a->w % tap->w || b->w % tap->w)
        return fail(RETORT_INVALID,
                    "at: taps %s do not divide: student %dx%d, teacher %dx%d found, sizes that are "
                    "multiples of each other wanted",
                    shapes->tap_names[tap->tap], a->h, a->w, b->h, b->w);
    return RETORT_OK;
}

static void widen(size_t *most, size_t count)
{
    *most = count > *most ? count : *most;
}

static enum retort_status add_tap(struct at *at, const struct loss_shapes *shapes, int number)
{
    const struct tensor *a = &shapes->student_taps[number], *b = &shapes->teacher_taps[number];
    struct at_tap *tap = &at->taps[at->count++];
    *tap = (struct at_tap){number, a->h < b->h ? a->h : b->h, a->w < b->w ? a->w : b->w,
                           at->kept_count};
    at->kept_count += (size_t)tap->h * (size_t)tap->w;
    widen(&at->rows_count, tap_floats(a));
    widen(&at->rows_count, tap_floats(b));
    widen(&at->sums_count, (size_t)a->h * (size_t)a->w);
    widen(&at->sums_count, (size_t)b->h * (size_t)b->w);
    return check_division(shapes, tap);
}

static enum retort_status add_taps(struct at *at, const struct at_settings *wanted,
                                   const struct loss_shapes *shapes)
{
    const size_t count = (size_t)shapes->tap_count;
    bool *chosen;
    TRY(arena_take(&at->arena, count * sizeof(*chosen), (void **)&chosen));
    TRY(arena_take(&at->arena, count * sizeof(*at->taps), (void **)&at->taps));
    TRY(taps_choose("at.taps", &wanted->taps, shapes, chosen));
    for (int tap = 0; tap < shapes->tap_count; tap++)
        if (chosen[tap])
            TRY(add_tap(at, shapes, tap));
    return RETORT_OK;
}

static enum retort_status make_buffers(struct at *at)
{
    const size_t n = (size_t)at->n, threads = (size_t)at->threads;
    TRY(memory_zeroed(n * at->kept_count, sizeof(double), (void **)&at->kept));
    TRY(memory_zeroed(n, sizeof(double), (void **)&at->values));
    TRY(memory_zeroed(threads * at->rows_count, sizeof(float), (void **)&at->rows));
    return memory_zeroed(3 * threads * at->sums_count, sizeof(double), (void **)&at->sums);
}

static enum retort_status at_create(const void *settings, const struct loss_shapes *shapes,
                                    void **state)
{
    const struct at_settings *wanted = settings;
    enum retort_status status;
    struct at *at = NULL;
    TRY(memory_zeroed(1, sizeof(*at), (void **)&at));
    at->n = shapes->n;
    at->p = wanted->p;
    at->norm = (enum at_norm)wanted->norm;
    at->threads = omp_get_max_threads();
    TRY_DONE(add_taps(at, wanted, shapes));
    TRY_DONE(make_buffers(at));
    *state = at;
    return RETORT_OK;
done:
    at_destroy(at);
    return status;
}

static bool at_uses_tap(const void *state, int tap)
{
    const struct at *at = state;
    for (int i = 0; i < at->count; i++)
        if (at->taps[i].tap == tap)
            return true;
    return false;
}

static void at_begin(void *state)
{
    struct at *at = state;
    at->mean = (struct teacher_mean){0};
}

/* ---- one map of one image ---- */

struct attention {
    const struct at_tap *tap;
    const struct tensor *map;
    double p;
    float *rows;
    double *sums; /* Q, by the map's positions */
    double *a;    /* A, by h x w */
    double *diff; /* gradient by A */
    double norm;
};

static struct attention attention_of(const struct at *at, const struct at_tap *tap,
                                     const struct tensor *map)
{
    const size_t thread = (size_t)omp_get_thread_num();
    double *sums = at->sums + 3 * thread * at->sums_count;
    return (struct attention){.tap = tap,
                              .map = map,
                              .p = at->p,
                              .rows = at->rows + thread * at->rows_count,
                              .sums = sums,
                              .a = sums + at->sums_count,
                              .diff = sums + 2 * at->sums_count};
}

static double power_sum(const float *row, int channels, double p)
{
    double sum = 0;
    for (int c = 0; c < channels; c++)
        sum += p == 2 ? (double)row[c] * row[c] : pow(fabs((double)row[c]), p);
    return sum;
}

/* From the gradient by the sum to that by the row, in its place. */
static void power_back(float *row, int channels, double p, double diff)
{
    for (int c = 0; c < channels; c++) {
        const double x = row[c];
        const double slope = p == 2 ? 2 * x : copysign(p * pow(fabs(x), p - 1), x);
        row[c] = x == 0 ? 0 : (float)(diff * slope);
    }
}

/* The place in A of a position of the map. */
static size_t pooled_place(const struct attention *attention, int y, int x)
{
    const struct at_tap *tap = attention->tap;
    const int kh = attention->map->h / tap->h, kw = attention->map->w / tap->w;
    return (size_t)(y / kh) * (size_t)tap->w + (size_t)(x / kw);
}

static double window_of(const struct attention *attention)
{
    return (double)(attention->map->h * attention->map->w) /
           (attention->tap->h * attention->tap->w);
}

/* Fill rows, Q, A and the norm. */
static void attention_look(struct attention *attention, int image)
{
    const struct tensor *map = attention->map;
    const int count = attention->tap->h * attention->tap->w;
    double squares = 0;
    tap_load(map, image, attention->rows);
    for (int i = 0; i < count; i++)
        attention->a[i] = 0;
    for (int y = 0, p = 0; y < map->h; y++)
        for (int x = 0; x < map->w; x++, p++)
            attention->a[pooled_place(attention, y, x)] +=
                power_sum(attention->rows + (size_t)p * (size_t)map->c, map->c, attention->p) /
                window_of(attention);
    for (int i = 0; i < count; i++)
        squares += attention->a[i] * attention->a[i];
    attention->norm = sqrt(squares);
    for (int i = 0; i < count; i++)
        attention->a[i] /= fmax(attention->norm, LEAST_NORM);
}

/* From the gradient by A to that by the map, which takes the place of its numbers. */
static void attention_back(struct attention *attention)
{
    const struct tensor *map = attention->map;
    const int count = attention->tap->h * attention->tap->w;
    const double p = attention->p, norm = fmax(attention->norm, LEAST_NORM);
    double along = 0;
    for (int i = 0; i < count; i++)
        along += attention->norm > LEAST_NORM ? attention->diff[i] * attention->a[i] : 0;
    for (int y = 0, at = 0; y < map->h; y++)
        for (int x = 0; x < map->w; x++, at++) {
            const size_t place = pooled_place(attention, y, x);
            const double diff = (attention->diff[place] - along * attention->a[place]) /
                                (norm * window_of(attention));
            power_back(attention->rows + (size_t)at * (size_t)map->c, map->c, p, diff);
        }
}

/* ---- teachers and student ---- */

static double *kept_of(const struct at *at, const struct at_tap *tap, int image)
{
    return at->kept + (size_t)image * at->kept_count + tap->kept;
}

static void at_teacher(void *state, const struct teacher_view *teacher)
{
    struct at *at = state;
    if (!teacher->maps)
        return;
    const double part = teacher_mean_part(&at->mean, teacher->map_share);
#pragma omp parallel for schedule(static) num_threads(at->threads)
    for (int image = 0; image < at->n; image++)
        for (int i = 0; i < at->count; i++) {
            const struct at_tap *tap = &at->taps[i];
            struct attention attention = attention_of(at, tap, &teacher->taps[tap->tap]);
            double *kept = kept_of(at, tap, image);
            attention_look(&attention, image);
            for (int k = 0; k < tap->h * tap->w; k++)
                kept[k] = part == 1 ? attention.a[k] : kept[k] + part * (attention.a[k] - kept[k]);
        }
}

/* The value; diff becomes factor * its gradient. */
static double compare(const struct at *at, const struct attention *attention, const double *kept,
                      double factor)
{
    const int count = attention->tap->h * attention->tap->w;
    double squares = 0;
    for (int i = 0; i < count; i++) {
        attention->diff[i] = attention->a[i] - kept[i];
        squares += attention->diff[i] * attention->diff[i];
    }
    const double distance = sqrt(squares);
    double slope = 2.0 / count;
    if (at->norm == AT_L2)
        slope = distance > 0 ? 0.5 / distance : 0;
    for (int i = 0; i < count; i++)
        attention->diff[i] *= factor * slope;
    return at->norm == AT_L2 ? 0.5 * distance : squares / count;
}

static double at_student(void *state, double weight, const struct student_view *student)
{
    struct at *at = state;
    assert(at->mean.teachers > 0);
#pragma omp parallel for schedule(static) num_threads(at->threads)
    for (int image = 0; image < at->n; image++) {
        at->values[image] = 0;
        for (int i = 0; i < at->count; i++) {
            const struct at_tap *tap = &at->taps[i];
            struct attention attention = attention_of(at, tap, &student->taps[tap->tap]);
            attention_look(&attention, image);
            at->values[image] +=
                compare(at, &attention, kept_of(at, tap, image), weight / at->n) / at->n;
            attention_back(&attention);
            tap_add(&student->diff_taps[tap->tap], image, attention.rows);
        }
    }
    double value = 0;
    for (int i = 0; i < at->count; i++)
        student->diff_taps[at->taps[i].tap].defined = true;
    for (int image = 0; image < at->n; image++)
        value += at->values[image];
    return value;
}

const struct loss loss_at = {
    .name = "at",
    .settings = &at_table,
    .needs_teacher = true,
    .create = at_create,
    .destroy = at_destroy,
    .uses_tap = at_uses_tap,
    .begin = at_begin,
    .teacher = at_teacher,
    .student = at_student,
};
