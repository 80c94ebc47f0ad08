/* loss_step.c - see loss_step.h. */
#include "loss_step.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

const char *const loss_step_names[LOSS_STEP_TAPS] = {"a", "b", "c", "d"};

/* ---- numbers ---- */

size_t loss_step_count(const struct loss_step *step, const struct loss_step_map *map)
{
    return (size_t)step->n * (size_t)map->c * (size_t)map->h * (size_t)map->w;
}

static size_t logits_count(const struct loss_step *step)
{
    return (size_t)step->n * (size_t)step->classes;
}

void loss_step_fill(float *numbers, size_t count, uint32_t which)
{
    struct random_stream stream = random_stream(7, RANDOM_TEST, which, 0);
    for (size_t i = 0; i < count; i++) {
        double x = 32 * random_normal(&stream, (uint64_t)i);
        numbers[i] = (float)(rint(fmax(-127, fmin(127, x))) / 32);
    }
}

static float *new_numbers(size_t count, uint32_t which)
{
    float *numbers = test_malloc((count ? count : 1) * sizeof(float));
    loss_step_fill(numbers, count, which);
    return numbers;
}

void loss_step_open(struct loss_step *step)
{
    uint32_t which = 0;
    step->logits = new_numbers(logits_count(step), which++);
    step->diff_logits = test_calloc(logits_count(step), sizeof(float));
    step->labels = test_malloc((size_t)step->n * sizeof(int));
    for (int i = 0; i < step->n; i++)
        step->labels[i] = (i * 2 + 1) % step->classes;
    for (int t = 0; t < step->tap_count; t++) {
        const size_t count = loss_step_count(step, &step->student_maps[t]);
        step->taps[t] = new_numbers(count, which++);
        step->diff_taps[t] = test_calloc(count, sizeof(float));
    }
    for (int i = 0; i < step->teacher_count; i++) {
        step->teachers[i].logits = new_numbers(logits_count(step), which++);
        for (int t = 0; t < step->tap_count; t++)
            step->teachers[i].taps[t] =
                new_numbers(loss_step_count(step, &step->teacher_maps[t]), which++);
    }
    step->teachers[0].share = 1;
}

void loss_step_close(struct loss_step *step)
{
    test_free(step->logits);
    test_free(step->diff_logits);
    test_free(step->labels);
    for (int t = 0; t < step->tap_count; t++) {
        test_free(step->taps[t]);
        test_free(step->diff_taps[t]);
    }
    for (int i = 0; i < step->teacher_count; i++) {
        test_free(step->teachers[i].logits);
        for (int t = 0; t < step->tap_count; t++)
            test_free(step->teachers[i].taps[t]);
    }
}

/* ---- maps ---- */

static struct tensor tensor_of(const struct loss_step *step, const struct loss_step_map *map)
{
    return (struct tensor){
        step->type, step->n, map->c, map->h, map->w, step->block ? step->block : 1, NULL};
}

/* plain NULL: every bit set, which is NaN. */
static struct tensor new_tensor(const struct loss_step *step, const struct loss_step_map *map,
                                const float *plain)
{
    struct tensor tensor = tensor_of(step, map);
    assert_ok(memory_aligned(tensor_bytes(&tensor), &tensor.data));
    if (plain)
        tensor_from_plain(plain, &tensor);
    else
        memset(tensor.data, 0xff, tensor_bytes(&tensor));
    return tensor;
}

static void fill_tensor(const struct loss_step *step, const struct loss_step_map *map,
                        const struct tensor *tensor)
{
    const size_t count = loss_step_count(step, map);
    float *plain = test_malloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++)
        plain[i] = step->before;
    tensor_from_plain(plain, tensor);
    test_free(plain);
}

static void assert_padding_is_zero(const struct tensor *tensor)
{
    const int block = tensor->block;
    const size_t channels = (size_t)tensor_channels(tensor), count = tensor_count(tensor);
    const size_t positions = (size_t)tensor->h * (size_t)tensor->w;
    for (size_t i = 0; i < count; i++) {
        size_t c = i / ((size_t)block * positions) * (size_t)block % channels + i % (size_t)block;
        float value = tensor->type == PRECISION_BF16
                          ? bf16_to_float(((const uint16_t *)tensor->data)[i])
                          : ((const float *)tensor->data)[i];
        if (c >= (size_t)tensor->c && value != 0)
            fail_msg("channel %zu of %d holds %g", c, tensor->c, (double)value);
    }
}

static void assert_untouched(const struct tensor *tensor)
{
    const unsigned char *bytes = tensor->data;
    for (size_t i = 0; i < tensor_bytes(tensor); i++)
        assert_int_equal(bytes[i], 0xff);
}

/* ---- a step ---- */

struct rig {
    struct tensor student[LOSS_STEP_TAPS], teachers[LOSS_STEP_TEACHERS][LOSS_STEP_TAPS];
    struct gradient diffs[LOSS_STEP_TAPS];
    struct loss_shapes shapes;
    struct arena arena;
    void *settings;
};

static void parse(const struct loss_step *step, struct rig *rig)
{
    const struct setting_table *table = loss_of(step->kind)->settings;
    rig->settings = arena_get(&rig->arena, table->bytes);
    assert_non_null(rig->settings);
    assert_ok(settings_parse(table, rig->settings, table->name, step->settings, &rig->arena));
}

static int map_teachers(const struct loss_step *step)
{
    int count = 0;
    for (int i = 0; i < step->teacher_count; i++)
        count += !step->teachers[i].mute;
    return count;
}

static void open_rig(const struct loss_step *step, struct rig *rig)
{
    *rig = (struct rig){0};
    parse(step, rig);
    for (int t = 0; t < step->tap_count; t++) {
        rig->student[t] = new_tensor(step, &step->student_maps[t], step->taps[t]);
        rig->diffs[t] = (struct gradient){new_tensor(step, &step->student_maps[t], NULL), false};
        for (int i = 0; i < step->teacher_count; i++)
            rig->teachers[i][t] =
                new_tensor(step, &step->teacher_maps[t], step->teachers[i].taps[t]);
    }
    rig->shapes = (struct loss_shapes){.n = step->n,
                                       .classes = step->classes,
                                       .tap_count = step->tap_count,
                                       .tap_names = loss_step_names,
                                       .student_taps = rig->student,
                                       .teacher_taps = rig->teachers[0],
                                       .many_map_teachers = map_teachers(step) > 1};
}

static void close_rig(const struct loss_step *step, struct rig *rig)
{
    for (int t = 0; t < step->tap_count; t++) {
        free(rig->student[t].data);
        free(rig->diffs[t].tensor.data);
        for (int i = 0; i < step->teacher_count; i++)
            free(rig->teachers[i][t].data);
    }
    arena_release(&rig->arena);
}

static void hear_teachers(const struct loss_step *step, const struct rig *rig, void *state)
{
    const struct loss *loss = loss_of(step->kind);
    loss->begin(state);
    for (int i = 0; i < step->teacher_count; i++) {
        const struct loss_step_teacher *teacher = &step->teachers[i];
        loss->teacher(state,
                      &(struct teacher_view){teacher->logits, rig->teachers[i], teacher->share,
                                             !teacher->mute, teacher->share});
    }
}

static void prepare_diffs(const struct loss_step *step, struct rig *rig, void *state)
{
    const struct loss *loss = loss_of(step->kind);
    for (size_t i = 0; i < logits_count(step); i++)
        step->diff_logits[i] = step->before;
    for (int t = 0; step->defined && t < step->tap_count; t++)
        if (loss->uses_tap && loss->uses_tap(state, t)) {
            fill_tensor(step, &step->student_maps[t], &rig->diffs[t].tensor);
            rig->diffs[t].defined = true;
        }
}

static void take_diffs(struct loss_step *step, const struct rig *rig, void *state)
{
    const struct loss *loss = loss_of(step->kind);
    for (int t = 0; t < step->tap_count; t++) {
        const struct tensor *diff = &rig->diffs[t].tensor;
        step->used[t] = loss->uses_tap && loss->uses_tap(state, t);
        if (!step->used[t]) {
            assert_false(rig->diffs[t].defined);
            assert_untouched(diff);
        } else {
            assert_true(rig->diffs[t].defined);
            assert_padding_is_zero(diff);
        }
        tensor_to_plain(diff, step->diff_taps[t]);
    }
}

double loss_step_run(struct loss_step *step)
{
    const struct loss *loss = loss_of(step->kind);
    struct rig rig;
    void *state;
    open_rig(step, &rig);
    assert_ok(loss->create(rig.settings, &rig.shapes, &state));
    hear_teachers(step, &rig, state); /* to be forgotten */
    hear_teachers(step, &rig, state);
    prepare_diffs(step, &rig, state);
    double value = loss->student(state, *(const double *)rig.settings,
                                 &(struct student_view){.logits = step->logits,
                                                        .labels = step->labels,
                                                        .diff_logits = step->diff_logits,
                                                        .taps = rig.student,
                                                        .diff_taps = rig.diffs});
    take_diffs(step, &rig, state);
    loss->destroy(state);
    close_rig(step, &rig);
    return value;
}

/* ---- checks ---- */

static double weight_of(const struct loss_step *step)
{
    struct rig rig = {0};
    parse(step, &rig);
    const double weight = *(const double *)rig.settings;
    arena_release(&rig.arena);
    return weight;
}

static double *differences(struct loss_step *step, float *numbers, size_t count)
{
    const float length = 1.0f / 1024;
    double *slopes = test_malloc(count * sizeof(double));
    for (size_t i = 0; i < count; i++) {
        const float kept = numbers[i];
        numbers[i] = kept + length;
        double above = loss_step_run(step);
        numbers[i] = kept - length;
        double below = loss_step_run(step);
        numbers[i] = kept;
        slopes[i] = (above - below) / (2.0 * length);
    }
    return slopes;
}

static void compare_slopes(const char *what, const float *diff, const double *slopes, size_t count,
                           double weight, double allowed)
{
    double largest = 1e-3;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(weight * slopes[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs(diff[i] - weight * slopes[i]) <= allowed * largest))
            fail_msg("%s, number %zu: gradient %.9g, difference %.9g, largest %.9g", what, i,
                     (double)diff[i], weight * slopes[i], largest);
}

static float *copy_of(const float *numbers, size_t count)
{
    float *copy = test_malloc((count ? count : 1) * sizeof(float));
    memcpy(copy, numbers, count * sizeof(float));
    return copy;
}

void loss_step_check_gradient(struct loss_step *step, double allowed)
{
    const double weight = weight_of(step);
    float *logits, *taps[LOSS_STEP_TAPS];
    assert_true(step->type == PRECISION_F32 && step->before == 0);
    loss_step_run(step);
    logits = copy_of(step->diff_logits, logits_count(step));
    for (int t = 0; t < step->tap_count; t++)
        taps[t] = copy_of(step->diff_taps[t], loss_step_count(step, &step->student_maps[t]));
    double *slopes = differences(step, step->logits, logits_count(step));
    compare_slopes("logits", logits, slopes, logits_count(step), weight, allowed);
    test_free(slopes);
    test_free(logits);
    for (int t = 0; t < step->tap_count; t++) {
        const size_t count = loss_step_count(step, &step->student_maps[t]);
        slopes = differences(step, step->taps[t], count);
        for (size_t i = 0; i < count; i++)
            taps[t][i] = step->used[t] ? taps[t][i] : 0;
        compare_slopes(loss_step_names[t], taps[t], slopes, count, weight, allowed);
        test_free(slopes);
        test_free(taps[t]);
    }
}

/* The step as it is against what plain f32 gave. */
static void compare_layout(const struct loss_step *step, float *const wanted[LOSS_STEP_TAPS])
{
    for (int t = 0; t < step->tap_count; t++) {
        const size_t count = step->used[t] ? loss_step_count(step, &step->student_maps[t]) : 0;
        double largest = 0;
        for (size_t i = 0; i < count; i++)
            largest = fmax(largest, fabs((double)wanted[t][i]));
        for (size_t i = 0; i < count; i++) {
            const double right = wanted[t][i] + (double)step->before;
            double tolerance = 1e-6 * (largest + fabs(right));
            if (step->type == PRECISION_BF16)
                tolerance += fabs(right) / 256;
            if (!(fabs(step->diff_taps[t][i] - right) <= tolerance))
                fail_msg("%s, block %d, defined %d: tap %s, number %zu: %.9g found, %.9g wanted",
                         step->type ? "bf16" : "f32", step->block, step->defined,
                         loss_step_names[t], i, (double)step->diff_taps[t][i], right);
        }
    }
}

void loss_step_check_layouts(struct loss_step *step)
{
    static const int blocks[] = {1, 8, 16};
    float *wanted[LOSS_STEP_TAPS];
    step->type = PRECISION_F32;
    step->block = 1;
    step->defined = false;
    step->before = 0;
    const double value = loss_step_run(step);
    for (int t = 0; t < step->tap_count; t++)
        wanted[t] = copy_of(step->diff_taps[t], loss_step_count(step, &step->student_maps[t]));
    for (int i = 0; i < 12; i++) {
        step->block = blocks[i % 3];
        step->type = i / 3 % 2 ? PRECISION_BF16 : PRECISION_F32;
        step->defined = i / 6;
        step->before = step->defined ? 0.5f : 0;
        assert_float_equal(loss_step_run(step) / value, 1, 1e-9);
        compare_layout(step, wanted);
    }
    for (int t = 0; t < step->tap_count; t++)
        test_free(wanted[t]);
    step->type = PRECISION_F32;
    step->defined = false;
    step->before = 0;
}

void loss_step_check_threads(struct loss_step *step)
{
    float *logits, *taps[LOSS_STEP_TAPS];
    omp_set_num_threads(1);
    const double one = loss_step_run(step);
    logits = copy_of(step->diff_logits, logits_count(step));
    for (int t = 0; t < step->tap_count; t++)
        taps[t] = copy_of(step->diff_taps[t], loss_step_count(step, &step->student_maps[t]));
    for (int threads = 2; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        assert_true(loss_step_run(step) == one);
        assert_memory_equal(logits, step->diff_logits, logits_count(step) * sizeof(float));
        for (int t = 0; t < step->tap_count; t++)
            assert_memory_equal(taps[t], step->diff_taps[t],
                                loss_step_count(step, &step->student_maps[t]) * sizeof(float));
    }
    omp_set_num_threads(2);
    test_free(logits);
    for (int t = 0; t < step->tap_count; t++)
        test_free(taps[t]);
}

void loss_step_check_finite(struct loss_step *step)
{
    assert_true(isfinite(loss_step_run(step)));
    for (size_t i = 0; i < logits_count(step); i++)
        assert_true(isfinite(step->diff_logits[i]));
    for (int t = 0; t < step->tap_count; t++)
        for (size_t i = 0; step->used[t] && i < loss_step_count(step, &step->student_maps[t]); i++)
            if (!isfinite(step->diff_taps[t][i]))
                fail_msg("tap %s, number %zu: gradient %g", loss_step_names[t], i,
                         (double)step->diff_taps[t][i]);
}

void loss_step_refused(const struct loss_step *step, const char *sentence)
{
    struct rig rig = {0};
    struct tensor teacher[LOSS_STEP_TAPS];
    void *state = NULL;
    parse(step, &rig);
    for (int t = 0; t < step->tap_count; t++) {
        rig.student[t] = tensor_of(step, &step->student_maps[t]);
        teacher[t] = tensor_of(step, &step->teacher_maps[t]);
    }
    const struct loss_shapes shapes = {.n = step->n,
                                       .classes = step->classes,
                                       .tap_count = step->tap_count,
                                       .tap_names = loss_step_names,
                                       .student_taps = rig.student,
                                       .teacher_taps = teacher};
    assert_fails(loss_of(step->kind)->create(rig.settings, &shapes, &state), RETORT_INVALID,
                 sentence);
    assert_null(state);
    arena_release(&rig.arena);
}

void loss_step_refused_settings(enum loss_kind kind, const char *settings, const char *sentence)
{
    const struct setting_table *table = loss_of(kind)->settings;
    struct arena arena = {0};
    void *chosen = arena_get(&arena, table->bytes);
    assert_non_null(chosen);
    assert_fails(settings_parse(table, chosen, table->name, settings, &arena), RETORT_INVALID,
                 sentence);
    arena_release(&arena);
}
