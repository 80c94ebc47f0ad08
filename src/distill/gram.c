/* gram.c - cross-layer Gramian matrices (Chou et al. 2021; FSP: Yim et al. 2017).
 *
 * For each pair of taps the student's Gram matrix shall be the teacher's. With D = G_student - G_teacher
 * of one image, m x n, and means over the batch:
 *     mean       mean over pairs of 1/(m n) ||D||^2
 *     sskd       1 / sum over pairs of (m n), times the sum over pairs of 1/2 ||D||^2
 *     frobenius  sum over pairs of 1/2 ||D||^2
 * The three differ by factors only, but their weights are not interchangeable. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distill/gram_kernel.h"
#include "distill/loss.h"

struct gram_settings {
    double weight;
    struct text_list pairs;
    int pool, norm;
};

enum { POOL_MAX, POOL_AVG };
enum { NORM_MEAN, NORM_SSKD, NORM_FROBENIUS };
static const char *const pools[] = {"max", "avg", NULL};
static const char *const norms[] = {"mean", "sskd", "frobenius", NULL};

static const struct setting rows[] = {
    {"weight", SETTING_NUMBER, offsetof(struct gram_settings, weight), 0, 1e6, "1", "factor of this loss in the sum"},
    {"pairs", SETTING_TEXTS, offsetof(struct gram_settings, pairs), .fallback = "all",
     .help = "all, adjacent (FSP), cross (all but adjacent), or a list such as stem-stage2"},
    {"pool", SETTING_CHOICE, offsetof(struct gram_settings, pool), .fallback = "max", .choices = pools,
     .help = "how the larger map of a pair is brought to the smaller one's size"},
    {"norm", SETTING_CHOICE, offsetof(struct gram_settings, norm), .fallback = "mean", .choices = norms,
     .help = "definition of the loss; see doc/method.md"},
};
static const struct setting_table table = SETTING_TABLE("gram", struct gram_settings, rows);

enum { MOST_TAPS = 64 };

struct gram {
    const struct gram_settings *settings;
    struct arena arena;
    int n, tap_count, threads;
    struct tensor *student_taps, *teacher_taps; /* shapes */
    struct gram_plan student, teacher;
    bool used[MOST_TAPS];
    double *factors;  /* by pair: loss = sum of factor * ||D||^2 over images and pairs */
    float *targets;   /* (n, matrices): sum of share * G_teacher */
    double share;     /* sum of the shares in targets */
    float *scratch;   /* by thread: maps and matrices */
    size_t scratch_numbers;
    double *values;   /* by image */
};

/* ---- pairs ---- */

static int find_tap(const struct loss_shapes *shapes, const char *name, size_t length)
{
    for (int i = 0; i < shapes->tap_count; i++)
        if (strlen(shapes->tap_names[i]) == length && strncmp(shapes->tap_names[i], name, length) == 0)
            return i;
    return -1;
}

/* "stem-stage2": tap names may hold dashes themselves, so every dash is tried. */
static enum retort_status parse_pair(const struct loss_shapes *shapes, const char *text, int pair[2])
{
    for (const char *dash = strchr(text, '-'); dash; dash = strchr(dash + 1, '-')) {
        int a = find_tap(shapes, text, (size_t)(dash - text)), b = find_tap(shapes, dash + 1, strlen(dash + 1));
        if (a < 0 || b < 0)
            continue;
        if (a == b)
            return fail(RETORT_INVALID, "gram.pairs: %s: a tap is paired with itself", text);
        pair[0] = a < b ? a : b;
        pair[1] = a < b ? b : a;
        return RETORT_OK;
    }
    char known[512] = "";
    for (int i = 0; i < shapes->tap_count; i++)
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "", shapes->tap_names[i]);
    return fail(RETORT_INVALID,
                "gram.pairs: %s found; all, adjacent, cross or two taps joined by a dash wanted; taps: %s", text,
                known);
}

static bool includes(const char *word, int a, int b)
{
    return strcmp(word, "all") == 0 || (strcmp(word, "adjacent") == 0 && b == a + 1) ||
           (strcmp(word, "cross") == 0 && b > a + 1);
}

static enum retort_status choose_pairs(const struct gram_settings *settings, const struct loss_shapes *shapes,
                                       int (*pairs)[2], int *count)
{
    const char *word = settings->pairs.count ? settings->pairs.items[0] : "all";
    const bool by_word = strcmp(word, "all") == 0 || strcmp(word, "adjacent") == 0 || strcmp(word, "cross") == 0;
    *count = 0;
    if (by_word && settings->pairs.count > 1)
        return fail(RETORT_INVALID, "gram.pairs: %s stands alone, %s found after it", word, settings->pairs.items[1]);
    for (int i = 0; !by_word && i < settings->pairs.count; i++) {
        int *pair = pairs[*count];
        TRY(parse_pair(shapes, settings->pairs.items[i], pair));
        for (int j = 0; j < *count; j++)
            if (pairs[j][0] == pair[0] && pairs[j][1] == pair[1])
                return fail(RETORT_INVALID, "gram.pairs: %s is there twice", settings->pairs.items[i]);
        if (++*count == MOST_TAPS * MOST_TAPS / 2)
            return fail(RETORT_INVALID, "gram.pairs: too many");
    }
    for (int a = 0; by_word && a < shapes->tap_count; a++)
        for (int b = a + 1; b < shapes->tap_count; b++)
            if (includes(word, a, b)) {
                pairs[*count][0] = a;
                pairs[(*count)++][1] = b;
            }
    if (*count == 0)
        return fail(RETORT_INVALID, "gram.pairs: %s gives no pair: student and teacher have %d taps in common", word,
                    shapes->tap_count);
    return RETORT_OK;
}

/* ---- making it ---- */

static enum retort_status check_channels(const struct gram *gram, const struct loss_shapes *shapes)
{
    for (int i = 0; i < shapes->tap_count; i++) {
        const struct tensor *s = &shapes->student_taps[i], *t = &shapes->teacher_taps[i];
        if (gram->used[i] && s->c != t->c)
            return fail(RETORT_INVALID,
                        "tap %s: the student has %d channels, the teacher %d: their Gram matrices cannot be compared",
                        shapes->tap_names[i], s->c, t->c);
    }
    return RETORT_OK;
}

static enum retort_status copy_taps(struct arena *arena, const struct tensor *taps, int count, struct tensor **copy)
{
    TRY(arena_take(arena, (size_t)count * sizeof(**copy), (void **)copy));
    memcpy(*copy, taps, (size_t)count * sizeof(**copy));
    return RETORT_OK;
}

static void set_factors(struct gram *gram)
{
    const struct gram_plan *plan = &gram->student;
    double all = 0;
    for (int i = 0; i < plan->pair_count; i++)
        all += (double)plan->pairs[i].m * plan->pairs[i].n;
    for (int i = 0; i < plan->pair_count; i++) {
        double mean = 1 / ((double)plan->pairs[i].m * plan->pairs[i].n * plan->pair_count);
        double of_norm[] = {[NORM_MEAN] = mean, [NORM_SSKD] = 0.5 / all, [NORM_FROBENIUS] = 0.5};
        gram->factors[i] = of_norm[gram->settings->norm] / gram->n;
    }
}

static enum retort_status make_memory(struct gram *gram)
{
    const size_t matrices = gram->student.matrix_numbers;
    size_t maps = gram->student.scratch_numbers;
    maps = gram->teacher.scratch_numbers > maps ? gram->teacher.scratch_numbers : maps;
    gram->scratch_numbers = memory_round((maps + matrices) * sizeof(float)) / sizeof(float);
    gram->threads = omp_get_max_threads();
    TRY(arena_take(&gram->arena, (size_t)gram->student.pair_count * sizeof(double), (void **)&gram->factors));
    TRY(arena_take(&gram->arena, (size_t)gram->n * sizeof(double), (void **)&gram->values));
    TRY(memory_aligned((size_t)gram->n * matrices * sizeof(float), (void **)&gram->targets));
    return memory_aligned((size_t)gram->threads * gram->scratch_numbers * sizeof(float), (void **)&gram->scratch);
}

static enum retort_status fill(struct gram *gram, const struct loss_shapes *shapes)
{
    int(*pairs)[2];
    int count;
    const bool average = gram->settings->pool == POOL_AVG;
    if (shapes->tap_count > MOST_TAPS)
        return fail(RETORT_INVALID, "gram: %d taps found, at most %d wanted", shapes->tap_count, MOST_TAPS);
    TRY(arena_take(&gram->arena, MOST_TAPS * MOST_TAPS / 2 * sizeof(*pairs), (void **)&pairs));
    TRY(choose_pairs(gram->settings, shapes, pairs, &count));
    for (int i = 0; i < count; i++)
        gram->used[pairs[i][0]] = gram->used[pairs[i][1]] = true;
    TRY(check_channels(gram, shapes));
    TRY(copy_taps(&gram->arena, shapes->student_taps, shapes->tap_count, &gram->student_taps));
    TRY(copy_taps(&gram->arena, shapes->teacher_taps, shapes->tap_count, &gram->teacher_taps));
    TRY(gram_plan_make(gram->student_taps, shapes->tap_names, shapes->tap_count, (const int(*)[2])pairs, count,
                       average, &gram->arena, &gram->student));
    TRY(gram_plan_make(gram->teacher_taps, shapes->tap_names, shapes->tap_count, (const int(*)[2])pairs, count,
                       average, &gram->arena, &gram->teacher));
    TRY(make_memory(gram));
    set_factors(gram);
    return RETORT_OK;
}

static void destroy(void *state)
{
    struct gram *gram = state;
    if (!gram)
        return;
    free(gram->targets);
    free(gram->scratch);
    arena_release(&gram->arena);
    free(gram);
}

static enum retort_status create(const void *settings, const struct loss_shapes *shapes, void **state)
{
    struct gram *made;
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    made->settings = settings;
    made->n = shapes->n;
    made->tap_count = shapes->tap_count;
    enum retort_status status = fill(made, shapes);
    if (status == RETORT_OK)
        *state = made;
    else
        destroy(made);
    return status;
}

static bool uses_tap(const void *state, int tap)
{
    return ((const struct gram *)state)->used[tap];
}

static bool pair(const void *state, int index, int taps[2])
{
    const struct gram_plan *plan = &((const struct gram *)state)->student;
    if (index >= plan->pair_count)
        return false;
    taps[0] = plan->views[plan->pairs[index].a].tap;
    taps[1] = plan->views[plan->pairs[index].b].tap;
    return true;
}

/* ---- the step ---- */

static void begin(void *state)
{
    ((struct gram *)state)->share = 0;
}

static float *scratch_of(const struct gram *gram)
{
    return gram->scratch + (size_t)omp_get_thread_num() * gram->scratch_numbers;
}

static void teacher(void *state, const struct teacher_view *teacher)
{
    struct gram *gram = state;
    const size_t numbers = gram->student.matrix_numbers;
    const bool first = gram->share == 0;
    const float share = (float)teacher->share;
    if (!teacher->gram)
        return;
    gram->share += teacher->share;
#pragma omp parallel for schedule(static) num_threads(gram->threads)
    for (int image = 0; image < gram->n; image++) {
        float *scratch = scratch_of(gram), *matrices = scratch + gram->scratch_numbers - numbers;
        float *target = gram->targets + (size_t)image * numbers;
        gram_forward(&gram->teacher, teacher->taps, image, scratch, matrices);
        for (size_t i = 0; i < numbers; i++)
            target[i] = (first ? 0 : target[i]) + share * matrices[i];
    }
}

/* Turn G into D = dL/dG, and give this image's share of the loss. */
static double differences(const struct gram *gram, double weight, const float *target, float *matrices)
{
    const struct gram_plan *plan = &gram->student;
    const float share = (float)(1 / gram->share);
    double value = 0;
    for (int i = 0; i < plan->pair_count; i++) {
        const struct gram_pair *pair = &plan->pairs[i];
        const size_t count = (size_t)pair->tiles_a * (size_t)pair->tiles_b * GRAM_TILE_NUMBERS;
        const size_t positions = (size_t)plan->views[pair->a].h * (size_t)plan->views[pair->a].w;
        const float factor = (float)(2 * weight * gram->factors[i] / (double)positions);
        double rows_sum = 0;
        for (size_t j = pair->offset; j < pair->offset + count; j += GRAM_TILE) {
            float sum = 0; /* of one row of a tile, then in double */
            for (size_t k = j; k < j + GRAM_TILE; k++) {
                float d = matrices[k] - target[k] * share;
                sum += d * d;
                matrices[k] = d * factor;
            }
            rows_sum += (double)sum;
        }
        value += gram->factors[i] * rows_sum;
    }
    return value;
}

static double student(void *state, double weight, const struct student_view *student)
{
    struct gram *gram = state;
    const size_t numbers = gram->student.matrix_numbers;
    struct tensor diffs[MOST_TAPS];
    bool add[MOST_TAPS];
    double value = 0;
    for (int t = 0; t < gram->tap_count; t++) {
        diffs[t] = student->diff_taps[t].tensor;
        diffs[t].data = gram->used[t] ? diffs[t].data : NULL;
        add[t] = student->diff_taps[t].defined;
    }
#pragma omp parallel for schedule(static) num_threads(gram->threads)
    for (int image = 0; image < gram->n; image++) {
        float *scratch = scratch_of(gram), *matrices = scratch + gram->scratch_numbers - numbers;
        gram_forward(&gram->student, student->taps, image, scratch, matrices);
        gram->values[image] =
            differences(gram, weight, gram->targets + (size_t)image * numbers, matrices);
        gram_backward(&gram->student, student->taps, image, scratch, matrices, diffs, add);
    }
    for (int t = 0; t < gram->tap_count; t++)
        student->diff_taps[t].defined |= gram->used[t];
    for (int image = 0; image < gram->n; image++)
        value += gram->values[image];
    return value;
}

const struct loss loss_gram = {
    .name = "gram",
    .settings = &table,
    .needs_teacher = true,
    .create = create,
    .destroy = destroy,
    .uses_tap = uses_tap,
    .pair = pair,
    .begin = begin,
    .teacher = teacher,
    .student = student,
};
