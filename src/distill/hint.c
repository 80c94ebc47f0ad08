/* hint.c - hints (Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3): one
 * of the student's maps is drawn to the teacher's at the same tap.
 *
 *     batch mean of the mean over positions and channels of (F_S - F_T)^2
 *
 * The paper has half the squared norm and a regressor between the maps; here the mean, so that a
 * weight means the same for maps of all sizes, and maps of equal shapes: where channels differ, the
 * student's tap is to be one behind an adapter. With several teachers F_T is the mean of theirs,
 * weighted by their shares; it has the gradient of the mean of their losses. */
#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include "distill/taps.h"

struct hint_settings {
    struct loss_weight weight;
    const char *tap;
};
static const struct setting hint_rows[] = {
    LOSS_WEIGHT_ROWS(struct hint_settings, "1"),
    {"tap", SETTING_TEXT, offsetof(struct hint_settings, tap), .fallback = "",
     .help = "the tap that is compared; empty: the middle one"},
};
static const struct setting_table hint_table =
    SETTING_TABLE("hint", struct hint_settings, hint_rows);

struct hint {
    int n, tap, threads;
    size_t floats; /* of one image */
    struct teacher_mean mean;
    float *kept;    /* (n, floats): F_T */
    float *rows;    /* (threads, floats) */
    double *values; /* (n); summed in order, so threads do not change the sum */
};

static void hint_destroy(void *state)
{
    struct hint *hint = state;
    if (!hint)
        return;
    free(hint->kept);
    free(hint->rows);
    free(hint->values);
    free(hint);
}

static enum retort_status prepare(struct hint *hint, const struct hint_settings *wanted,
                                  const struct loss_shapes *shapes)
{
    TRY(tap_choose("hint.tap", wanted->tap, shapes->tap_count / 2, shapes, &hint->tap));
    TRY(tap_check_channels("hint", shapes, hint->tap));
    TRY(tap_check_sizes("hint", shapes, hint->tap));
    const size_t n = (size_t)shapes->n;
    hint->n = shapes->n;
    hint->threads = omp_get_max_threads();
    hint->floats = tap_floats(&shapes->student_taps[hint->tap]);
    TRY(memory_zeroed(n * hint->floats, sizeof(float), (void **)&hint->kept));
    TRY(memory_zeroed((size_t)hint->threads * hint->floats, sizeof(float), (void **)&hint->rows));
    return memory_zeroed(n, sizeof(double), (void **)&hint->values);
}

static enum retort_status hint_create(const void *settings, const struct loss_shapes *shapes,
                                      void **state)
{
    enum retort_status status;
    struct hint *hint = NULL;
    TRY(memory_zeroed(1, sizeof(*hint), (void **)&hint));
    TRY_DONE(prepare(hint, settings, shapes));
    *state = hint;
    return RETORT_OK;
done:
    hint_destroy(hint);
    return status;
}

static bool hint_uses_tap(const void *state, int tap)
{
    const struct hint *hint = state;
    return tap == hint->tap;
}

static void hint_begin(void *state)
{
    struct hint *hint = state;
    hint->mean = (struct teacher_mean){0};
}

static float *load(const struct hint *hint, const struct tensor *taps, int image)
{
    float *rows = hint->rows + (size_t)omp_get_thread_num() * hint->floats;
    tap_load(&taps[hint->tap], image, rows);
    return rows;
}

static void hint_teacher(void *state, const struct teacher_view *teacher)
{
    struct hint *hint = state;
    if (!teacher->maps)
        return;
    const float part = (float)teacher_mean_part(&hint->mean, teacher->map_share);
#pragma omp parallel for schedule(static) num_threads(hint->threads)
    for (int image = 0; image < hint->n; image++) {
        const float *rows = load(hint, teacher->taps, image);
        float *kept = hint->kept + (size_t)image * hint->floats;
        for (size_t i = 0; i < hint->floats; i++)
            kept[i] = part == 1 ? rows[i] : kept[i] + part * (rows[i] - kept[i]);
    }
}

static double hint_student(void *state, double weight, const struct student_view *student)
{
    struct hint *hint = state;
    struct gradient *gradient = &student->diff_taps[hint->tap];
    const double scale = 1 / ((double)hint->n * (double)hint->floats);
    const float slope = (float)(2 * weight * scale);
    assert(hint->mean.teachers > 0);
#pragma omp parallel for schedule(static) num_threads(hint->threads)
    for (int image = 0; image < hint->n; image++) {
        float *rows = load(hint, student->taps, image);
        const float *kept = hint->kept + (size_t)image * hint->floats;
        double squares = 0;
        for (size_t i = 0; i < hint->floats; i++) {
            const float gap = rows[i] - kept[i];
            squares += (double)gap * gap;
            rows[i] = slope * gap;
        }
        hint->values[image] = squares * scale;
        tap_add(gradient, image, rows);
    }
    gradient->defined = true;
    double value = 0;
    for (int image = 0; image < hint->n; image++)
        value += hint->values[image];
    return value;
}

const struct loss loss_hint = {
    .name = "hint",
    .settings = &hint_table,
    .needs_teacher = true,
    .same_channels = true,
    .create = hint_create,
    .destroy = hint_destroy,
    .uses_tap = hint_uses_tap,
    .begin = hint_begin,
    .teacher = hint_teacher,
    .student = hint_student,
};
