/* test_at.c - attention transfer: against the formula on plain maps, by hand, and in every layout.
 */
#include "loss_step.h"

#include <math.h>
#include <string.h>

/* Three taps: of equal size, a larger student, a larger teacher; channels differ and are no
 * multiples of 8. */
static struct loss_step new_step(const char *settings, int n, int teachers)
{
    struct loss_step step = {.kind = LOSS_at,
                             .settings = settings,
                             .n = n,
                             .classes = 3,
                             .tap_count = 3,
                             .student_maps = {{3, 4, 3}, {9, 4, 6}, {17, 2, 2}},
                             .teacher_maps = {{5, 4, 3}, {2, 2, 3}, {17, 4, 6}},
                             .teacher_count = teachers};
    loss_step_open(&step);
    return step;
}

/* ---- the formula, position by position ---- */

/* The attention at (y, x) of a map seen at h x w, before it is normalised. */
static double attention_at(const struct loss_step_map *map, const float *plain, int image, int y,
                           int x, int h, int w, double p)
{
    double sum = 0;
    for (int yy = y * map->h / h; yy < (y + 1) * map->h / h; yy++)
        for (int xx = x * map->w / w; xx < (x + 1) * map->w / w; xx++)
            for (int c = 0; c < map->c; c++)
                sum += pow(fabsf(plain[((image * map->c + c) * map->h + yy) * map->w + xx]), p);
    return sum * h * w / (map->h * map->w);
}

static void attention(const struct loss_step_map *map, const float *plain, int image, int h, int w,
                      double p, double *a)
{
    double squares = 0;
    for (int i = 0; i < h * w; i++)
        squares += pow(attention_at(map, plain, image, i / w, i % w, h, w, p), 2);
    for (int i = 0; i < h * w; i++)
        a[i] = attention_at(map, plain, image, i / w, i % w, h, w, p) / sqrt(squares);
}

static double reference(const struct loss_step *step, double p, bool mean_square, unsigned taps)
{
    double value = 0;
    for (int t = 0; t < step->tap_count; t++)
        for (int i = 0; taps >> t & 1 && i < step->n; i++) {
            const struct loss_step_map *s = &step->student_maps[t], *m = &step->teacher_maps[t];
            const int h = s->h < m->h ? s->h : m->h, w = s->w < m->w ? s->w : m->w;
            double ours[64], theirs[64], mean[64] = {0}, squares = 0;
            attention(s, step->taps[t], i, h, w, p, ours);
            for (int k = 0; k < step->teacher_count; k++) {
                attention(m, step->teachers[k].taps[t], i, h, w, p, theirs);
                for (int q = 0; q < h * w; q++)
                    mean[q] += step->teachers[k].share * theirs[q];
            }
            for (int q = 0; q < h * w; q++)
                squares += (ours[q] - mean[q]) * (ours[q] - mean[q]);
            value += (mean_square ? squares / (h * w) : sqrt(squares) / 2) / step->n;
        }
    return value;
}

static void it_is_the_formula_of_the_paper(void **state)
{
    static const struct {
        const char *settings;
        double p;
        bool mean_square;
        unsigned taps;
    } rows[] = {
        {"", 2, false, 7},           {"p=1", 1, false, 7},
        {"p=3.5", 3.5, false, 7},    {"norm=mean-square", 2, true, 7},
        {"taps=[c,a]", 2, false, 5}, {"taps=b,norm=mean-square,p=4", 4, true, 2},
    };
    for (int r = 0; r < 6; r++) {
        struct loss_step step = new_step(rows[r].settings, 3, 1);
        double wanted = reference(&step, rows[r].p, rows[r].mean_square, rows[r].taps);
        assert_float_equal(loss_step_run(&step) / wanted, 1, 1e-9);
        loss_step_close(&step);
    }
}

/* Q of the student (2, 1), of the teacher (0, 4); A = (2, 1) / sqrt 5 and (0, 1), so the squared
 * distance is 2 - 2 / sqrt 5. */
static void a_value_by_hand(void **state)
{
    struct loss_step step = {.kind = LOSS_at,
                             .settings = "",
                             .n = 1,
                             .classes = 2,
                             .tap_count = 1,
                             .student_maps = {{2, 1, 2}},
                             .teacher_maps = {{1, 1, 2}},
                             .teacher_count = 1};
    loss_step_open(&step);
    memcpy(step.taps[0], (const float[]){1, 0, 1, -1}, 4 * sizeof(float));
    memcpy(step.teachers[0].taps[0], (const float[]){0, -2}, 2 * sizeof(float));
    const double squares = 2 - 2 / sqrt(5);
    assert_float_equal(loss_step_run(&step), sqrt(squares) / 2, 1e-12);
    step.settings = "norm=mean-square";
    assert_float_equal(loss_step_run(&step), squares / 2, 1e-12);
    loss_step_close(&step);
}

static void several_teachers_count_by_their_shares(void **state)
{
    struct loss_step step = new_step("", 3, 2);
    step.teachers[0].share = 0.25;
    step.teachers[1].share = 0.75;
    assert_float_equal(loss_step_run(&step) / reference(&step, 2, false, 7), 1, 1e-9);
    /* one whose maps are not used has no say, and the other one all of it */
    step.teachers[1].mute = true;
    double value = loss_step_run(&step);
    step.teacher_count = 1;
    step.teachers[0].share = 1;
    assert_true(value == loss_step_run(&step));
    step.teachers[0].share = 0; /* looked at for its maps only */
    assert_true(value == loss_step_run(&step));
    step.teacher_count = 2;
    loss_step_close(&step);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    static const char *const settings[] = {"", "p=3,weight=0.5", "p=1,norm=mean-square,weight=100",
                                           "taps=b,norm=mean-square"};
    for (int s = 0; s < 4; s++) {
        struct loss_step step = new_step(settings[s], 2, 2);
        step.teachers[0].share = step.teachers[1].share = 0.5;
        for (int t = 0; t < 3; t++) /* |x| has no derivative at 0 */
            for (size_t i = 0; i < loss_step_count(&step, &step.student_maps[t]); i++)
                step.taps[t][i] = step.taps[t][i] == 0 ? 0.5f : step.taps[t][i];
        loss_step_check_gradient(&step, 1e-4);
        loss_step_close(&step);
    }
}

static void layouts_and_precisions_agree(void **state)
{
    struct loss_step step = new_step("taps=[a,b]", 2, 1);
    loss_step_check_layouts(&step);
    step.settings = "p=3,norm=mean-square,weight=10";
    loss_step_check_layouts(&step);
    loss_step_close(&step);
}

static void threads_change_nothing(void **state)
{
    struct loss_step step = new_step("", 7, 1);
    loss_step_check_threads(&step);
    loss_step_close(&step);
}

static void maps_of_zeros_and_equal_maps_give_finite_gradients(void **state)
{
    struct loss_step step = new_step("", 2, 1);
    memset(step.taps[0], 0, loss_step_count(&step, &step.student_maps[0]) * sizeof(float));
    memset(step.teachers[0].taps[1], 0,
           loss_step_count(&step, &step.teacher_maps[1]) * sizeof(float));
    for (size_t i = 0; i < loss_step_count(&step, &step.student_maps[2]); i++)
        step.taps[2][i] = 1e-30f;
    loss_step_check_finite(&step);
    step.settings = "p=1";
    loss_step_check_finite(&step);
    loss_step_close(&step);

    struct loss_step same = new_step("taps=c", 2, 1);
    for (int i = 0; i < 2 * 17 * 4; i++)
        same.taps[2][i] = 1;
    for (int i = 0; i < 2 * 17 * 24; i++)
        same.teachers[0].taps[2][i] = 3; /* looks everywhere alike, as the student does */
    assert_float_equal(loss_step_run(&same), 0, 1e-12);
    for (int i = 0; i < 2 * 17 * 4; i++)
        assert_true(same.diff_taps[2][i] == 0);
    loss_step_close(&same);
}

static void settings_and_shapes_that_do_not_fit_are_refused(void **state)
{
    struct loss_step step = {.kind = LOSS_at,
                             .settings = "",
                             .n = 2,
                             .classes = 3,
                             .tap_count = 2,
                             .student_maps = {{3, 8, 8}, {3, 4, 4}},
                             .teacher_maps = {{3, 8, 8}, {3, 6, 6}}};
    loss_step_refused(&step, "at: taps b do not divide: student 4x4, teacher 6x6 found");
    step.settings = "taps=[a,e]";
    loss_step_refused(&step, "at.taps: there is no tap \"e\", taps are a, b");
    step.settings = "taps=[a,a]";
    loss_step_refused(&step, "at.taps: a found again");
    step.tap_count = 0;
    loss_step_refused(&step, "at.taps: no taps found");
    loss_step_refused_settings(LOSS_at, "p=0.5", "from 1 to 16");
    loss_step_refused_settings(LOSS_at, "norm=l1", "one of l2, mean-square");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_formula_of_the_paper),
        cmocka_unit_test(a_value_by_hand),
        cmocka_unit_test(several_teachers_count_by_their_shares),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(layouts_and_precisions_agree),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(maps_of_zeros_and_equal_maps_give_finite_gradients),
        cmocka_unit_test(settings_and_shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
