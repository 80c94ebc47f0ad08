/* test_dkd.c - decoupled distillation: against the formula done naively, against the divergence
 * that it takes apart, and what can be known by thought. */
#include "loss_step.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static struct loss_step new_step(const char *settings, int n, int classes, int teachers)
{
    struct loss_step step = {.kind = LOSS_dkd,
                             .settings = settings,
                             .n = n,
                             .classes = classes,
                             .teacher_count = teachers};
    loss_step_open(&step);
    return step;
}

/* ---- the formula, one class after the other, without care for overflow ---- */

/* exp(score) of one image. */
static void powers(const float *z, int classes, double temperature, bool standardize, double *e)
{
    double mean = 0, mean_square = 0;
    for (int k = 0; k < classes; k++) {
        mean += (double)z[k] / classes;
        mean_square += (double)z[k] * z[k] / classes;
    }
    const double deviation = sqrt(mean_square - mean * mean);
    for (int k = 0; k < classes; k++)
        e[k] = exp((standardize ? (z[k] - mean) / deviation : z[k]) / temperature);
}

static double sum_of(const double *numbers, int count)
{
    return count ? numbers[count - 1] + sum_of(numbers, count - 1) : 0;
}

struct formula {
    double temperature, alpha, beta;
    bool standardize;
};

/* As in the paper: b = [p_t, 1 - p_t], p^ among the others. */
static double reference(const struct formula *formula, const struct loss_step *step)
{
    const int classes = step->classes;
    double value = 0;
    for (int i = 0; i < step->n; i++) {
        double student[16], teacher[16] = {0}, e[16];
        powers(step->logits + i * classes, classes, formula->temperature, formula->standardize,
               student);
        for (int m = 0; m < step->teacher_count; m++) {
            powers(step->teachers[m].logits + i * classes, classes, formula->temperature,
                   formula->standardize, e);
            for (int k = 0; k < classes; k++)
                teacher[k] += step->teachers[m].share * e[k] / sum_of(e, classes);
        }
        const int t = step->labels[i];
        const double s = student[t] / sum_of(student, classes), p = teacher[t];
        value += formula->alpha * (p * log(p / s) + (1 - p) * log((1 - p) / (1 - s)));
        for (int k = 0; k < classes; k++)
            if (k != t) {
                double ours = student[k] / (sum_of(student, classes) - student[t]);
                value += formula->beta * teacher[k] / (1 - p) * log(teacher[k] / (1 - p) / ours);
            }
    }
    return formula->temperature * formula->temperature * value / step->n;
}

static void it_is_the_formula_of_the_paper(void **state)
{
    static const struct {
        const char *settings;
        struct formula formula;
    } rows[] = {
        {"", {4, 1, 8, false}},
        {"temperature=1,alpha=0", {1, 0, 8, false}},
        {"temperature=2,alpha=3,beta=0", {2, 3, 0, false}},
        {"standardize=true,temperature=2,beta=2", {2, 1, 2, true}},
    };
    for (int r = 0; r < 4; r++) {
        struct loss_step step = new_step(rows[r].settings, 5, 7, 1);
        assert_float_equal(loss_step_run(&step) / reference(&rows[r].formula, &step), 1, 1e-6);
        loss_step_close(&step);
    }
}

static void several_teachers_count_by_their_shares(void **state)
{
    const struct formula formula = {4, 1, 8, false};
    struct loss_step step = new_step("", 5, 7, 2);
    step.teachers[0].share = 0.25;
    step.teachers[1].share = 0.75;
    step.teachers[1].mute = true; /* its maps are not wanted, its logits are */
    assert_float_equal(loss_step_run(&step) / reference(&formula, &step), 1, 1e-9);
    loss_step_close(&step);
}

/* By hand: T = 1, the teacher says 1/2, 1/4, 1/4, the student 1/4, 1/4, 1/2, the label is 0.
 * TCKD = 1/2 log 2 + 1/2 log(2/3); NCKD = 1/2 log(3/2) + 1/2 log(3/4). */
static void values_by_hand(void **state)
{
    struct loss_step step = new_step("temperature=1,alpha=1,beta=0", 1, 3, 1);
    const float ln2 = 0.69314718f;
    memcpy(step.teachers[0].logits, (const float[]){ln2, 0, 0}, 3 * sizeof(float));
    memcpy(step.logits, (const float[]){0, 0, ln2}, 3 * sizeof(float));
    step.labels[0] = 0;
    assert_float_equal(loss_step_run(&step), 0.5 * log(4.0 / 3), 1e-7);
    assert_float_equal(step.diff_logits[0], 0.25 - 0.5, 1e-6);
    assert_float_equal(step.diff_logits[1], 0.25 / 3, 1e-6);
    assert_float_equal(step.diff_logits[2], 0.25 * 2 / 3, 1e-6);
    step.settings = "temperature=1,alpha=0,beta=1";
    assert_float_equal(loss_step_run(&step), 0.5 * log(9.0 / 8), 1e-7);
    assert_float_equal(step.diff_logits[0], 0, 1e-7);
    assert_float_equal(step.diff_logits[1], 1.0 / 3 - 0.5, 1e-6);
    assert_float_equal(step.diff_logits[2], 2.0 / 3 - 0.5, 1e-6);
    loss_step_close(&step);
}

/* Equation 6 of the paper: KL = TCKD + (1 - p_T[t]) NCKD. */
static void weights_by_what_the_teacher_leaves_give_the_divergence(void **state)
{
    struct loss_step step = new_step("", 1, 9, 1);
    double e[16];
    powers(step.teachers[0].logits, 9, 2, false, e);
    char settings[100];
    snprintf(settings, sizeof(settings), "temperature=2,alpha=1,beta=%.17g",
             1 - e[step.labels[0]] / sum_of(e, 9));
    step.settings = settings;
    const double value = loss_step_run(&step);
    float diff[9];
    memcpy(diff, step.diff_logits, sizeof(diff));
    step.kind = LOSS_kl;
    step.settings = "temperature=2";
    assert_float_equal(loss_step_run(&step) / value, 1, 1e-9);
    assert_true(support_difference(diff, step.diff_logits, 9) < 1e-6);
    loss_step_close(&step);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    static const char *const settings[] = {"",
                                           "temperature=1,weight=3",
                                           "alpha=0,temperature=1",
                                           "beta=0,temperature=0.5",
                                           "standardize=true,temperature=2",
                                           "standardize=true,temperature=1,weight=0.1,beta=0"};
    for (int s = 0; s < 6; s++) {
        struct loss_step step = new_step(settings[s], 3, 5, 2);
        step.teachers[0].share = 0.5;
        step.teachers[1].share = 0.5;
        loss_step_check_gradient(&step, 1e-4);
        loss_step_close(&step);
    }
}

static void gradients_are_added(void **state)
{
    struct loss_step step = new_step("", 3, 5, 1);
    float alone[15];
    loss_step_run(&step);
    memcpy(alone, step.diff_logits, sizeof(alone));
    step.before = 4;
    loss_step_run(&step);
    for (int i = 0; i < 15; i++)
        assert_float_equal(step.diff_logits[i], alone[i] + 4, 1e-6);
    loss_step_close(&step);
}

static void a_student_equal_to_its_teacher_has_no_loss(void **state)
{
    struct loss_step step = new_step("", 4, 10, 1);
    const float zeros[40] = {0};
    memcpy(step.logits, step.teachers[0].logits, 40 * sizeof(float));
    assert_float_equal(loss_step_run(&step), 0, 1e-12);
    assert_true(support_difference(step.diff_logits, zeros, 40) < 1e-7);
    loss_step_close(&step);
}

/* Also where one side gives the label everything, or nothing. */
static void certain_networks_give_finite_numbers(void **state)
{
    const float large[] = {1e4f, 1e30f, -1e4f, -1e30f};
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < 4; b++)
            for (int standardize = 0; standardize < 2; standardize++) {
                struct loss_step step =
                    new_step(standardize ? "standardize=true" : "temperature=1", 1, 3, 1);
                step.labels[0] = 1;
                step.teachers[0].logits[1] = large[a];
                step.logits[1] = large[b];
                loss_step_check_finite(&step);
                loss_step_close(&step);
            }
}

static void few_classes_have_no_others(void **state)
{
    struct loss_step one = new_step("", 2, 1, 1), two = new_step("alpha=0", 2, 2, 1);
    assert_true(loss_step_run(&one) == 0);
    assert_true(one.diff_logits[0] == 0 && one.diff_logits[1] == 0);
    assert_float_equal(loss_step_run(&two), 0, 1e-12);
    loss_step_close(&one);
    loss_step_close(&two);
}

static void threads_change_nothing(void **state)
{
    struct loss_step step = new_step("standardize=true", 29, 11, 1);
    loss_step_check_threads(&step);
    loss_step_close(&step);
}

static void settings_out_of_range_are_refused(void **state)
{
    loss_step_refused_settings(LOSS_dkd, "temperature=0", "from 0.01 to 1000");
    loss_step_refused_settings(LOSS_dkd, "alpha=-1", "alpha: -1 found");
    loss_step_refused_settings(LOSS_dkd, "gamma=1", "gamma: unknown setting");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_formula_of_the_paper),
        cmocka_unit_test(several_teachers_count_by_their_shares),
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(weights_by_what_the_teacher_leaves_give_the_divergence),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(gradients_are_added),
        cmocka_unit_test(a_student_equal_to_its_teacher_has_no_loss),
        cmocka_unit_test(certain_networks_give_finite_numbers),
        cmocka_unit_test(few_classes_have_no_others),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(settings_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
