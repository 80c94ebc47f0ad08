/* test_dist.c - DIST: against Pearson's correlation by its sums, and what can be known by thought.
 */
#include "loss_step.h"

#include <math.h>
#include <string.h>

static struct loss_step new_step(const char *settings, int n, int classes, int teachers)
{
    struct loss_step step = {.kind = LOSS_dist,
                             .settings = settings,
                             .n = n,
                             .classes = classes,
                             .teacher_count = teachers};
    loss_step_open(&step);
    return step;
}

/* ---- the formula ---- */

enum { MOST = 32 };

static void add_softmax(const float *z, int classes, double temperature, double share, double *p)
{
    double sum = 0;
    for (int k = 0; k < classes; k++)
        sum += exp(z[k] / temperature);
    for (int k = 0; k < classes; k++)
        p[k] += share * exp(z[k] / temperature) / sum;
}

/* By sums: (N sum ab - sum a sum b) / sqrt(...), without the small number of the program. */
static double correlation(const double *a, const double *b, int count, int stride)
{
    double sa = 0, sb = 0, saa = 0, sab = 0, sbb = 0;
    for (int i = 0; i < count * stride; i += stride) {
        sa += a[i];
        sb += b[i];
        saa += a[i] * a[i];
        sab += a[i] * b[i];
        sbb += b[i] * b[i];
    }
    return (count * sab - sa * sb) / sqrt((count * saa - sa * sa) * (count * sbb - sb * sb));
}

static double reference(const struct loss_step *step, double beta, double gamma, double temperature)
{
    const int n = step->n, classes = step->classes;
    double student[MOST * MOST] = {0}, teacher[MOST * MOST] = {0}, inter = 0, intra = 0;
    for (int i = 0; i < n; i++) {
        add_softmax(step->logits + i * classes, classes, temperature, 1, student + i * classes);
        for (int m = 0; m < step->teacher_count; m++)
            add_softmax(step->teachers[m].logits + i * classes, classes, temperature,
                        step->teachers[m].share, teacher + i * classes);
    }
    for (int i = 0; i < n; i++)
        inter += (1 - correlation(student + i * classes, teacher + i * classes, classes, 1)) / n;
    for (int k = 0; k < classes; k++)
        intra += (1 - correlation(student + k, teacher + k, n, classes)) / classes;
    return temperature * temperature * (beta * inter + gamma * intra);
}

static void it_is_the_formula_of_the_paper(void **state)
{
    static const struct {
        const char *settings;
        double beta, gamma, temperature;
    } rows[] = {
        {"", 2, 2, 1},
        {"beta=1,gamma=0", 1, 0, 1},
        {"beta=0,gamma=3,temperature=2", 0, 3, 2},
        {"temperature=4", 2, 2, 4},
    };
    for (int r = 0; r < 4; r++) {
        struct loss_step step = new_step(rows[r].settings, 6, 5, 1);
        double wanted = reference(&step, rows[r].beta, rows[r].gamma, rows[r].temperature);
        assert_float_equal(loss_step_run(&step) / wanted, 1, 1e-5);
        loss_step_close(&step);
    }
}

/* Probabilities 1/2, 1/4, 1/4 and 1/4, 1/4, 1/2 differ from their mean by (2, -1, -1) and
 * (-1, -1, 2) twelfths: r = -3 / 6. One image in a batch has no correlation within a class: r is 0,
 * three times. */
static void a_value_by_hand(void **state)
{
    struct loss_step step = new_step("beta=1,gamma=0", 1, 3, 1);
    const float ln2 = 0.69314718f;
    memcpy(step.teachers[0].logits, (const float[]){ln2, 0, 0}, 3 * sizeof(float));
    memcpy(step.logits, (const float[]){0, 0, ln2}, 3 * sizeof(float));
    assert_float_equal(loss_step_run(&step), 1.5, 1e-6);
    step.settings = "beta=0,gamma=1";
    assert_float_equal(loss_step_run(&step), 1, 1e-12);
    loss_step_close(&step);
}

static void several_teachers_count_by_their_shares(void **state)
{
    struct loss_step step = new_step("", 5, 4, 2);
    step.teachers[0].share = 0.25;
    step.teachers[1].share = 0.75;
    step.teachers[1].mute = true; /* its maps are not wanted, its logits are */
    assert_float_equal(loss_step_run(&step) / reference(&step, 2, 2, 1), 1, 1e-6);
    loss_step_close(&step);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    static const char *const settings[] = {"", "gamma=0,temperature=0.5", "beta=0,weight=7",
                                           "temperature=4,weight=0.25"};
    for (int s = 0; s < 4; s++) {
        struct loss_step step = new_step(settings[s], 4, 5, 2);
        step.teachers[0].share = step.teachers[1].share = 0.5;
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
    struct loss_step step = new_step("", 4, 5, 1);
    memcpy(step.logits, step.teachers[0].logits, 20 * sizeof(float));
    assert_float_equal(loss_step_run(&step), 0, 1e-5); /* the small number in r is left */
    for (int i = 0; i < 20; i++)
        assert_float_equal(step.diff_logits[i], 0, 1e-5);
    loss_step_close(&step);
}

/* Equal logits, certain ones, a batch of equal images, of one, one class. */
static void rows_and_columns_without_shape_give_finite_gradients(void **state)
{
    struct loss_step step = new_step("", 4, 5, 1);
    memset(step.logits, 0, 5 * sizeof(float));
    memset(step.teachers[0].logits + 5, 0, 5 * sizeof(float));
    step.logits[12] = 1e30f;
    step.teachers[0].logits[17] = -1e30f;
    loss_step_check_finite(&step);
    for (int i = 5; i < 20; i++)
        step.logits[i] = step.logits[i - 5];
    loss_step_check_finite(&step);
    loss_step_close(&step);
    struct loss_step one = new_step("", 1, 5, 1), single = new_step("", 3, 1, 1);
    loss_step_check_finite(&one);
    loss_step_check_finite(&single);
    loss_step_close(&one);
    loss_step_close(&single);
}

static void threads_change_nothing(void **state)
{
    struct loss_step step = new_step("", 29, 11, 1);
    loss_step_check_threads(&step);
    loss_step_close(&step);
}

static void settings_out_of_range_are_refused(void **state)
{
    loss_step_refused_settings(LOSS_dist, "temperature=0", "from 0.01 to 1000");
    loss_step_refused_settings(LOSS_dist, "gamma=-1", "gamma: -1 found");
    loss_step_refused_settings(LOSS_dist, "alpha=1", "alpha: unknown setting");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_formula_of_the_paper),
        cmocka_unit_test(a_value_by_hand),
        cmocka_unit_test(several_teachers_count_by_their_shares),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(gradients_are_added),
        cmocka_unit_test(a_student_equal_to_its_teacher_has_no_loss),
        cmocka_unit_test(rows_and_columns_without_shape_give_finite_gradients),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(settings_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
