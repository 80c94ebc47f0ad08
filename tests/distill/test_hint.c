/* test_hint.c - hints: against the formula on plain maps, by hand, and in every layout. */
#include "loss_step.h"

#include <math.h>
#include <string.h>

static struct loss_step new_step(const char *settings, int n, int teachers)
{
    struct loss_step step = {.kind = LOSS_hint,
                             .settings = settings,
                             .n = n,
                             .classes = 3,
                             .tap_count = 3,
                             .student_maps = {{3, 4, 4}, {19, 3, 5}, {7, 2, 2}},
                             .teacher_maps = {{3, 4, 4}, {19, 3, 5}, {7, 2, 2}},
                             .teacher_count = teachers};
    loss_step_open(&step);
    return step;
}

/* By its expansion: mean of S^2 - 2 S T + T^2. */
static double reference(const struct loss_step *step, int tap)
{
    const size_t count = loss_step_count(step, &step->student_maps[tap]);
    double ours = 0, both = 0, theirs = 0;
    for (size_t i = count; i-- > 0;) {
        double teacher = 0;
        for (int m = 0; m < step->teacher_count; m++)
            teacher += step->teachers[m].share * step->teachers[m].taps[tap][i];
        ours += (double)step->taps[tap][i] * step->taps[tap][i];
        both += step->taps[tap][i] * teacher;
        theirs += teacher * teacher;
    }
    return (ours - 2 * both + theirs) / (double)count;
}

static void it_is_the_mean_square_at_one_tap(void **state)
{
    struct loss_step step = new_step("", 3, 1);
    assert_float_equal(loss_step_run(&step) / reference(&step, 1), 1, 1e-9); /* the middle one */
    step.settings = "tap=c";
    assert_float_equal(loss_step_run(&step) / reference(&step, 2), 1, 1e-9);
    step.settings = "";
    step.tap_count = 2;
    assert_float_equal(loss_step_run(&step) / reference(&step, 1), 1, 1e-9); /* a, b: the later */
    step.tap_count = 3;
    loss_step_close(&step);
}

static void a_value_by_hand(void **state)
{
    struct loss_step step = {.kind = LOSS_hint,
                             .settings = "weight=3",
                             .n = 2,
                             .classes = 2,
                             .tap_count = 1,
                             .student_maps = {{1, 1, 2}},
                             .teacher_maps = {{1, 1, 2}},
                             .teacher_count = 1};
    loss_step_open(&step);
    memcpy(step.taps[0], (const float[]){1, 2, 3, 4}, 4 * sizeof(float));
    memcpy(step.teachers[0].taps[0], (const float[]){1, 0, 6, 4}, 4 * sizeof(float));
    assert_float_equal(loss_step_run(&step), (4 + 9) / 4.0, 1e-12);
    assert_float_equal(step.diff_taps[0][0], 0, 1e-12);
    assert_float_equal(step.diff_taps[0][1], 3 * 2 * 2 / 4.0, 1e-6);
    assert_float_equal(step.diff_taps[0][2], 3 * 2 * -3 / 4.0, 1e-6);
    loss_step_close(&step);
}

static void several_teachers_count_by_their_shares(void **state)
{
    struct loss_step step = new_step("", 3, 3);
    step.teachers[0].share = 0.25;
    step.teachers[1].share = 0.25;
    step.teachers[2].share = 0.5;
    assert_float_equal(loss_step_run(&step) / reference(&step, 1), 1, 1e-6);
    /* among those whose maps are used */
    step.teachers[2].mute = true;
    double value = loss_step_run(&step);
    step.teacher_count = 2;
    step.teachers[0].share = step.teachers[1].share = 0.5;
    assert_float_equal(value / reference(&step, 1), 1, 1e-6);
    step.teacher_count = 3;
    loss_step_close(&step);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    struct loss_step step = new_step("weight=7", 2, 2);
    step.teachers[0].share = 0.75;
    step.teachers[1].share = 0.25;
    loss_step_check_gradient(&step, 1e-4);
    loss_step_close(&step);
}

static void layouts_and_precisions_agree(void **state)
{
    struct loss_step step = new_step("weight=10", 2, 1);
    loss_step_check_layouts(&step);
    loss_step_close(&step);
}

static void threads_change_nothing(void **state)
{
    struct loss_step step = new_step("", 7, 1);
    loss_step_check_threads(&step);
    loss_step_close(&step);
}

static void settings_and_shapes_that_do_not_fit_are_refused(void **state)
{
    struct loss_step step = {.kind = LOSS_hint,
                             .settings = "",
                             .n = 2,
                             .classes = 3,
                             .tap_count = 3,
                             .student_maps = {{3, 8, 8}, {3, 4, 4}, {5, 4, 4}},
                             .teacher_maps = {{3, 8, 8}, {6, 4, 4}, {5, 2, 4}}};
    loss_step_refused(&step, "hint: taps b differ: student 3, teacher 6 channels");
    step.settings = "tap=c";
    loss_step_refused(&step, "hint: taps c differ: student 4x4, teacher 2x4 found");
    step.settings = "tap=d";
    loss_step_refused(&step, "hint.tap: there is no tap \"d\", taps are a, b, c");
    step.tap_count = 0;
    loss_step_refused(&step, "hint.tap: no taps found");
    loss_step_refused_settings(LOSS_hint, "weight=-1", "from 0 to");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_mean_square_at_one_tap),
        cmocka_unit_test(a_value_by_hand),
        cmocka_unit_test(several_teachers_count_by_their_shares),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(layouts_and_precisions_agree),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(settings_and_shapes_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
