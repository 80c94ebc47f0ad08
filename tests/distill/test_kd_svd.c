/* test_kd_svd.c - KD-SVD: against the formula with singular vectors found in another way, by hand,
 * and where singular vectors are not defined. */
#include "loss_step.h"

#include <math.h>
#include <string.h>

/* Maps as after a ReLU, taller than wide and the reverse. */
static struct loss_step new_step(const char *settings, int n, int teachers)
{
    struct loss_step step = {.kind = LOSS_kd_svd,
                             .settings = settings,
                             .n = n,
                             .classes = 3,
                             .tap_count = 3,
                             .student_maps = {{3, 4, 4}, {9, 2, 3}, {17, 2, 2}},
                             .teacher_maps = {{3, 2, 2}, {9, 4, 3}, {17, 2, 2}},
                             .teacher_count = teachers};
    loss_step_open(&step);
    for (int t = 0; t < 3; t++) {
        for (size_t i = 0; i < loss_step_count(&step, &step.student_maps[t]); i++)
            step.taps[t][i] = fabsf(step.taps[t][i]);
        for (int m = 0; m < teachers; m++)
            for (size_t i = 0; i < loss_step_count(&step, &step.teacher_maps[t]); i++)
                step.teachers[m].taps[t][i] = fabsf(step.teachers[m].taps[t][i]);
    }
    return step;
}

/* ---- the formula; singular vectors by rotating columns until they are orthogonal ---- */

enum { MOST = 20, MOST_VECTORS = 8 };

struct taken_apart {
    int columns;
    double s[MOST], v[MOST][MOST]; /* v[q][channel] */
};

static void rotate(double *a, double *b, int stride, int count, double c, double s)
{
    for (int i = 0; i < count * stride; i += stride) {
        const double was = a[i];
        a[i] = c * was - s * b[i];
        b[i] = s * was + c * b[i];
    }
}

static void rotate_columns(double (*x)[MOST], double (*v)[MOST], int rows, int columns)
{
    for (int a = 0; a < columns; a++)
        for (int b = a + 1; b < columns; b++) {
            double aa = 0, ab = 0, bb = 0;
            for (int p = 0; p < rows; p++) {
                aa += x[p][a] * x[p][a];
                ab += x[p][a] * x[p][b];
                bb += x[p][b] * x[p][b];
            }
            if (fabs(ab) < 1e-300)
                continue;
            const double angle = 0.5 * atan2(2 * ab, bb - aa);
            rotate(&x[0][a], &x[0][b], MOST, rows, cos(angle), sin(angle));
            rotate(&v[0][a], &v[0][b], MOST, columns, cos(angle), sin(angle));
        }
}

static struct taken_apart take_apart(const struct loss_step_map *map, const float *plain, int image)
{
    const int rows = map->h * map->w, columns = map->c;
    double x[MOST][MOST], v[MOST][MOST] = {{0}};
    struct taken_apart result = {.columns = columns};
    for (int c = 0; c < columns; c++) {
        v[c][c] = 1;
        for (int p = 0; p < rows; p++)
            x[p][c] = plain[(image * columns + c) * rows + p];
    }
    for (int round = 0; round < 60; round++)
        rotate_columns(x, v, rows, columns);
    bool taken[MOST] = {false};
    for (int q = 0; q < columns; q++) {
        int best = -1;
        for (int c = 0; c < columns; c++) {
            double square = 0;
            for (int p = 0; p < rows; p++)
                square += x[p][c] * x[p][c];
            if (!taken[c] && (best < 0 || sqrt(square) > result.s[q])) {
                best = c;
                result.s[q] = sqrt(square);
            }
        }
        taken[best] = true;
        for (int c = 0; c < columns; c++)
            result.v[q][c] = v[c][best];
    }
    return result;
}

struct directions {
    double t[MOST_VECTORS], d[MOST_VECTORS][MOST];
};

static int rank_of(const struct loss_step_map *map, int wanted)
{
    const int most = map->c < map->h * map->w ? map->c : map->h * map->w;
    return wanted < most ? wanted : most;
}

static void add_teacher(const struct loss_step *step, int teacher, int tap, int image, int vectors,
                        struct directions *mean)
{
    const struct loss_step_map *map = &step->teacher_maps[tap];
    const struct taken_apart a = take_apart(map, step->teachers[teacher].taps[tap], image);
    const int count = rank_of(map, vectors);
    double norm = 0;
    for (int q = 0; q < count; q++)
        norm = hypot(norm, a.s[q]);
    for (int q = 0; q < count; q++) {
        double sign = 0;
        for (int c = 0; c < map->c; c++)
            sign += a.v[q][c] * (teacher ? mean->d[q][c] : 1);
        const double part = step->teachers[teacher].share;
        mean->t[q] += part * a.s[q] / norm;
        for (int c = 0; c < map->c; c++)
            mean->d[q][c] += part * a.s[q] / norm * copysign(1, sign) * a.v[q][c];
    }
}

static struct directions student_directions(const struct loss_step *step, int tap, int image,
                                            int vectors, int spare, const struct directions *theirs)
{
    const struct loss_step_map *map = &step->student_maps[tap];
    const struct taken_apart a = take_apart(map, step->taps[tap], image);
    struct directions ours = {{0}};
    for (int q = 0; q < vectors; q++) {
        double best = 0;
        for (int k = 0; k < rank_of(map, vectors + spare); k++) {
            double cosine = 0;
            for (int c = 0; c < map->c; c++)
                cosine += a.v[k][c] * theirs->d[q][c];
            if (fabs(cosine) <= fabs(best))
                continue;
            best = cosine;
            for (int c = 0; c < map->c; c++)
                ours.d[q][c] = theirs->t[q] * copysign(1, cosine) * a.v[k][c];
        }
    }
    return ours;
}

static double relation(const struct directions *a, const struct directions *b, int q, int i, int j)
{
    return exp(-pow(a->d[q][i] - b->d[q][j], 2) / 8);
}

static double reference(const struct loss_step *step, int vectors, int spare, const int *taps,
                        int count)
{
    double value = 0;
    for (int image = 0; image < step->n; image++) {
        struct directions ours[4] = {{{0}}}, theirs[4] = {{{0}}};
        for (int i = 0; i < count; i++) {
            for (int m = 0; m < step->teacher_count; m++)
                add_teacher(step, m, taps[i], image, vectors, &theirs[i]);
            ours[i] = student_directions(step, taps[i], image, vectors, spare, &theirs[i]);
        }
        for (int k = 0; k + 1 < count; k++)
            for (int q = 0; q < vectors; q++)
                for (int i = 0; i < step->student_maps[taps[k]].c; i++)
                    for (int j = 0; j < step->student_maps[taps[k + 1]].c; j++)
                        value += pow(relation(&ours[k], &ours[k + 1], q, i, j) -
                                         relation(&theirs[k], &theirs[k + 1], q, i, j),
                                     2) /
                                 step->n;
    }
    return value;
}

static void it_is_the_formula_of_the_paper(void **state)
{
    static const struct {
        const char *settings;
        int vectors, spare, taps[3], count;
    } rows[] = {
        {"", 1, 3, {0, 1, 2}, 3},
        {"vectors=3,spare=0", 3, 0, {0, 1, 2}, 3},
        {"vectors=4,taps=[c,b]", 4, 3, {1, 2}, 2},
        {"vectors=2,spare=1,taps=[a,c]", 2, 1, {0, 2}, 2},
        {"vectors=8", 8, 3, {0, 1, 2}, 3}, /* more than the maps have */
    };
    for (int r = 0; r < 5; r++) {
        struct loss_step step = new_step(rows[r].settings, 3, 1);
        double wanted =
            reference(&step, rows[r].vectors, rows[r].spare, rows[r].taps, rows[r].count);
        assert_true(wanted > 1e-3);
        assert_float_equal(loss_step_run(&step) / wanted, 1, 1e-6);
        loss_step_close(&step);
    }
}

/* Maps of one position: v is the map itself, to length 1. The teacher's are (3, 4) / 5 and 1, the
 * student's (4, 3) / 5 and 1, whatever their signs. */
static void a_value_by_hand(void **state)
{
    struct loss_step step = {.kind = LOSS_kd_svd,
                             .settings = "",
                             .n = 1,
                             .classes = 2,
                             .tap_count = 2,
                             .student_maps = {{2, 1, 1}, {1, 1, 1}},
                             .teacher_maps = {{2, 1, 1}, {1, 1, 1}},
                             .teacher_count = 1};
    loss_step_open(&step);
    const double wanted = 2 * pow(exp(-0.16 / 8) - exp(-0.04 / 8), 2);
    for (int signs = 0; signs < 8; signs++) {
        const float a = signs & 1 ? -1 : 1, b = signs & 2 ? -1 : 1, c = signs & 4 ? -1 : 1;
        memcpy(step.teachers[0].taps[0], (const float[]){a * 3, a * 4}, 2 * sizeof(float));
        step.teachers[0].taps[1][0] = b;
        memcpy(step.taps[0], (const float[]){c * 4, c * 3}, 2 * sizeof(float));
        step.taps[1][0] = -7 * c;
        assert_float_equal(loss_step_run(&step), wanted, 1e-12);
    }
    loss_step_close(&step);
}

static void several_teachers_count_by_their_shares(void **state)
{
    static const int taps[] = {0, 1, 2};
    struct loss_step step = new_step("vectors=2", 2, 2);
    step.teachers[0].share = 0.25;
    step.teachers[1].share = 0.75;
    assert_float_equal(loss_step_run(&step) / reference(&step, 2, 3, taps, 3), 1, 1e-6);
    /* directions are those of the map times anything */
    for (int t = 0; t < 3; t++)
        for (size_t i = 0; i < loss_step_count(&step, &step.teacher_maps[t]); i++)
            step.teachers[1].taps[t][i] = -3 * step.teachers[0].taps[t][i];
    double value = loss_step_run(&step);
    step.teachers[1].mute = true;
    assert_float_equal(value, loss_step_run(&step), 1e-9);
    loss_step_close(&step);
}

static void a_student_equal_to_its_teacher_has_no_loss(void **state)
{
    struct loss_step step = new_step("vectors=3", 2, 1);
    for (int t = 0; t < 3; t++) {
        step.teacher_maps[t] = step.student_maps[t];
        const size_t count = loss_step_count(&step, &step.student_maps[t]);
        test_free(step.teachers[0].taps[t]);
        step.teachers[0].taps[t] = test_malloc(count * sizeof(float));
        memcpy(step.teachers[0].taps[t], step.taps[t], count * sizeof(float));
    }
    assert_float_equal(loss_step_run(&step), 0, 1e-12);
    for (int t = 0; t < 3; t++)
        for (size_t i = 0; i < loss_step_count(&step, &step.student_maps[t]); i++)
            assert_float_equal(step.diff_taps[t][i], 0, 1e-6);
    loss_step_close(&step);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    static const char *const settings[] = {"", "weight=20,vectors=2,spare=1", "taps=[a,b],spare=0",
                                           "taps=[b,c],weight=0.1"};
    for (int s = 0; s < 4; s++) {
        struct loss_step step = new_step(settings[s], 2, 2);
        step.teachers[0].share = step.teachers[1].share = 0.5;
        loss_step_check_gradient(&step, 1e-3);
        loss_step_close(&step);
    }
}

static void layouts_and_precisions_agree(void **state)
{
    struct loss_step step = new_step("weight=10", 2, 1);
    loss_step_check_layouts(&step);
    loss_step_close(&step);
}

static void threads_change_nothing(void **state)
{
    struct loss_step step = new_step("vectors=2", 7, 1);
    loss_step_check_threads(&step);
    loss_step_close(&step);
}

static float largest_diff(const struct loss_step *step, int tap)
{
    float largest = 0;
    for (size_t i = 0; i < loss_step_count(step, &step->student_maps[tap]); i++)
        largest = fmaxf(largest, fabsf(step->diff_taps[tap][i]));
    return largest;
}

/* Zeros, and one direction only. */
static void maps_without_directions_give_finite_gradients(void **state)
{
    struct loss_step step = new_step("vectors=3,weight=1000", 1, 1);
    memset(step.taps[0], 0, 48 * sizeof(float));
    memset(step.teachers[0].taps[1], 0, 108 * sizeof(float));
    for (int i = 0; i < 54; i++)
        step.taps[1][i] = 2;
    loss_step_check_finite(&step);
    assert_true(largest_diff(&step, 0) == 0); /* nothing to take a gradient through */
    assert_true(largest_diff(&step, 2) > 0);
    for (int i = 0; i < 54; i++)
        step.taps[1][i] = 1e-20f;
    loss_step_check_finite(&step);
    loss_step_close(&step);
}

/* Four orthogonal rows of lengths `apart` different from each other: singular values that meet. */
static float diff_of_equal_values(float apart)
{
    static const float signs[4][4] = {{1, 1, 1, 1}, {1, -1, 1, -1}, {1, 1, -1, -1}, {1, -1, -1, 1}};
    struct loss_step step = new_step("vectors=3", 1, 1);
    memset(step.taps[2], 0, 68 * sizeof(float));
    for (int p = 0; p < 4; p++)
        for (int c = 0; c < 4; c++)
            step.taps[2][c * 4 + p] = (1 + (float)p * apart) * signs[p][c] / 2;
    loss_step_check_finite(&step);
    const float largest = largest_diff(&step, 2);
    loss_step_close(&step);
    return largest;
}

/* One over their distance grows without bound; the gradient is largest at 1e-4 of the value. */
static void values_that_meet_have_bounded_gradients(void **state)
{
    const float clear = diff_of_equal_values(1.0f / 64), near = diff_of_equal_values(1.0f / 8192);
    assert_true(clear > 0 && near > 20 * clear);
    assert_true(diff_of_equal_values(1.0f / (1 << 20)) < near);
    assert_true(diff_of_equal_values(0) < near);
}

static void neighbours_are_its_pairs(void **state)
{
    const struct loss *loss = loss_of(LOSS_kd_svd);
    struct tensor maps[4];
    struct arena arena = {0};
    void *chosen = arena_get(&arena, loss->settings->bytes), *made;
    int pair[2];
    for (int t = 0; t < 4; t++)
        maps[t] = (struct tensor){PRECISION_F32, 1, 4, 2, 2, 8, NULL};
    assert_non_null(chosen);
    assert_ok(settings_parse(loss->settings, chosen, "kd_svd", "taps=[a,d,c]", &arena));
    assert_ok(loss->create(chosen,
                           &(struct loss_shapes){.n = 1,
                                                 .classes = 2,
                                                 .tap_count = 4,
                                                 .tap_names = loss_step_names,
                                                 .student_taps = maps,
                                                 .teacher_taps = maps},
                           &made));
    assert_true(loss->pair(made, 0, pair) && pair[0] == 0 && pair[1] == 2);
    assert_true(loss->pair(made, 1, pair) && pair[0] == 2 && pair[1] == 3);
    assert_false(loss->pair(made, 2, pair));
    assert_false(loss->uses_tap(made, 1));
    loss->destroy(made);
    arena_release(&arena);
}

static void settings_and_shapes_that_do_not_fit_are_refused(void **state)
{
    struct loss_step step = {.kind = LOSS_kd_svd,
                             .settings = "",
                             .n = 2,
                             .classes = 3,
                             .tap_count = 3,
                             .student_maps = {{3, 8, 8}, {3, 4, 4}, {5, 4, 4}},
                             .teacher_maps = {{3, 8, 8}, {6, 4, 4}, {5, 2, 4}}};
    loss_step_refused(&step, "kd_svd: taps b differ: student 3, teacher 6 channels");
    step.settings = "taps=a";
    loss_step_refused(&step, "kd_svd.taps: only a found, at least two taps wanted");
    step.settings = "taps=[a,d]";
    loss_step_refused(&step, "kd_svd.taps: there is no tap \"d\", taps are a, b, c");
    step.tap_count = 0;
    loss_step_refused(&step, "kd_svd.taps: no taps found");
    loss_step_refused_settings(LOSS_kd_svd, "vectors=0", "from 1 to 64");
    loss_step_refused_settings(LOSS_kd_svd, "spare=-1", "from 0 to 64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_formula_of_the_paper),
        cmocka_unit_test(a_value_by_hand),
        cmocka_unit_test(several_teachers_count_by_their_shares),
        cmocka_unit_test(a_student_equal_to_its_teacher_has_no_loss),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(layouts_and_precisions_agree),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(maps_without_directions_give_finite_gradients),
        cmocka_unit_test(values_that_meet_have_bounded_gradients),
        cmocka_unit_test(neighbours_are_its_pairs),
        cmocka_unit_test(settings_and_shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
