/* test_kl.c - distillation from probabilities. */
#include "golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "distill/loss.h"

struct teacher {
    const float *logits;
    double share;
};

/* A loss of its own for one step; diff is added to. settings as in a recipe's text. */
static double run(const char *settings, int n, int classes, const struct teacher *teachers,
                  int count, const float *student, float *diff)
{
    const struct loss *loss = loss_of(LOSS_kl);
    const struct loss_shapes shapes = {.n = n, .classes = classes};
    const struct student_view view = {.logits = student, .diff_logits = diff};
    struct arena arena = {0};
    void *chosen = arena_get(&arena, loss->settings->bytes), *state;
    assert_non_null(chosen);
    assert_ok(settings_parse(loss->settings, chosen, "kl", settings, &arena));
    assert_ok(loss->create(chosen, &shapes, &state));
    double value = 0;
    for (int step = 0; step < 2; step++) { /* the second one has forgotten the first */
        loss->begin(state);
        for (int i = 0; i < count; i++)
            loss->teacher(state, &(struct teacher_view){.logits = teachers[i].logits,
                                                        .share = teachers[i].share});
        if (step == 1)
            value = loss->student(state, *(double *)chosen, &view);
    }
    loss->destroy(state);
    arena_release(&arena);
    return value;
}

static double run_one(const char *settings, int n, int classes, const float *teacher,
                      const float *student, float *diff)
{
    return run(settings, n, classes, &(struct teacher){teacher, 1}, 1, student, diff);
}

static void check_golden(const char *name)
{
    struct golden golden;
    golden_open(&golden, name);
    const bool two = golden_has(&golden, "teacher1");
    const struct golden_dims dims = GOLDEN_DIMS(7, 10);
    const struct teacher teachers[] = {
        {golden_floats(&golden, two ? "teacher1" : "teacher", dims), two ? 0.25 : 1},
        {two ? golden_floats(&golden, "teacher2", dims) : NULL, 0.75},
    };
    if (two)
        assert_string_equal(golden_text(&golden, "teacher_weights"), "0.25,0.75");
    char settings[64];
    snprintf(settings, sizeof(settings), "temperature=%s", golden_text(&golden, "temperature"));
    float diff[70] = {0};
    double value =
        run(settings, 7, 10, teachers, two ? 2 : 1, golden_floats(&golden, "student", dims), diff);
    golden_check_number(&golden, "loss", value, "loss", 4);
    golden_check(&golden, "grad_student", diff, "grad", 4);
    golden_close(&golden);
}

static void it_agrees_with_the_outside_implementation(void **state)
{
    check_golden("op_kl_t1");
    check_golden("op_kl_t4");
}

static void two_teachers_agree_with_the_outside_implementation(void **state)
{
    check_golden("op_kl_two_teachers_t1");
    check_golden("op_kl_two_teachers_t4");
}

static void large_logits_do_not_overflow(void **state)
{
    check_golden("op_kl_t1_large_logits");
    const float teacher[] = {1e30f, -1e30f}, student[] = {-1e30f, 1e30f};
    float diff[2] = {0};
    double value = run_one("", 1, 2, teacher, student, diff);
    assert_float_equal(value / 2e30, 1, 1e-6);
    assert_true(diff[0] == -1 && diff[1] == 1);
}

static void fill(float *numbers, int count, uint32_t which)
{
    struct random_stream stream = random_stream(3, RANDOM_TEST, which, 0);
    for (int i = 0; i < count; i++)
        numbers[i] = 2 * (float)random_normal(&stream, (uint64_t)i);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    enum { N = 3, CLASSES = 5, COUNT = N * CLASSES };
    static const char *const settings[] = {"temperature=1", "temperature=4", "temperature=0.5",
                                           "standardize=true", "standardize=true,temperature=2"};
    float teacher[COUNT], student[COUNT], ignored[COUNT];
    fill(teacher, COUNT, 0);
    fill(student, COUNT, 1);
    for (int s = 0; s < 5; s++) {
        float diff[COUNT] = {0};
        run_one(settings[s], N, CLASSES, teacher, student, diff);
        for (int i = 0; i < COUNT; i++) {
            const float kept = student[i], step = 1.0f / 512;
            student[i] = kept + step;
            double above = run_one(settings[s], N, CLASSES, teacher, student, ignored);
            student[i] = kept - step;
            double below = run_one(settings[s], N, CLASSES, teacher, student, ignored);
            student[i] = kept;
            assert_float_equal((above - below) / (2.0 * step), diff[i], 2e-5);
        }
    }
}

/* By hand: of -1 and 1, or 5 and 9, the standardised logits are -1 and 1; of 0, 0, 0, 4 (mean 1,
 * deviation sqrt 3) they are -1, -1, -1, 3 divided by sqrt 3. */
static void standardised_logits_are_those_of_the_paper(void **state)
{
    const float teacher[] = {1, -1}, student[] = {5, 9};
    const double p = 1 / (1 + exp(-1.0));
    float diff[2] = {0}, four[4] = {0};
    double value = run_one("standardize=true,temperature=2", 1, 2, teacher, student, diff);
    assert_float_equal(value, 4 * (2 * p - 1), 1e-6); /* log(p / (1 - p)) is 1 */
    assert_float_equal(diff[0], 0, 1e-6);             /* two logits have no shape but their order */
    const float wide[] = {0, 0, 0, 4}, even[] = {7, 7, 7, 7};
    const double q = exp(3 / sqrt(3)) / (exp(3 / sqrt(3)) + 3 * exp(-1 / sqrt(3)));
    value = run_one("standardize=true", 1, 4, wide, even, four);
    assert_float_equal(value, q * log(4 * q) + (1 - q) * log(4 * (1 - q) / 3), 1e-6);
    for (int k = 0; k < 4; k++)
        assert_true(isfinite(four[k])); /* equal logits: no deviation to divide by */
}

static void standardised_logits_have_neither_place_nor_size(void **state)
{
    float teacher[70], student[70], moved[70], diff[70] = {0};
    fill(teacher, 70, 0);
    fill(student, 70, 1);
    for (int i = 0; i < 70; i++)
        moved[i] = 8 * student[i] + 16;
    double value = run_one("standardize=true", 7, 10, teacher, student, diff);
    assert_true(value > 0.1);
    assert_float_equal(run_one("standardize=true", 7, 10, teacher, moved, diff), value, 1e-6);
}

static void a_student_equal_to_its_teacher_has_no_loss(void **state)
{
    float logits[70], diff[70] = {0};
    const float zeros[70] = {0};
    fill(logits, 70, 0);
    double value = run_one("temperature=3", 7, 10, logits, logits, diff);
    assert_float_equal(value, 0, 1e-14);
    assert_true(support_difference(diff, zeros, 70) == 0);
}

static void a_probability_of_zero_adds_nothing(void **state)
{
    const float teacher[] = {0, -1e4f}, student[] = {0, 0};
    float diff[2] = {0};
    assert_float_equal(run_one("", 1, 2, teacher, student, diff), log(2), 1e-12);
    assert_float_equal(diff[0], -0.5, 1e-7);
    assert_float_equal(diff[1], 0.5, 1e-7);
}

/* T^2 KL -> sum over k of ((t_k - mean t) - (s_k - mean s))^2 / (2 K), the match of logits
 * (Hinton et al. 2015, section 2.1). */
static void a_high_temperature_matches_centred_logits(void **state)
{
    enum { CLASSES = 6 };
    float teacher[CLASSES], student[CLASSES], diff[CLASSES] = {0};
    fill(teacher, CLASSES, 0);
    fill(student, CLASSES, 1);
    double mean = 0, wanted = 0;
    for (int k = 0; k < CLASSES; k++)
        mean += ((double)student[k] - teacher[k]) / CLASSES;
    for (int k = 0; k < CLASSES; k++) {
        double gap = (double)student[k] - teacher[k] - mean;
        wanted += gap * gap / (2 * CLASSES);
    }
    double value = run_one("temperature=1000", 1, CLASSES, teacher, student, diff);
    assert_float_equal(value / wanted, 1, 0.01);
    for (int k = 0; k < CLASSES; k++)
        assert_float_equal(diff[k], ((double)student[k] - teacher[k] - mean) / CLASSES, 0.01);
}

/* The mean of probabilities and the mean of the single losses have one gradient. */
static void averaging_probabilities_and_losses_give_one_gradient(void **state)
{
    enum { N = 4, CLASSES = 9, COUNT = N * CLASSES };
    float first[COUNT], second[COUNT], student[COUNT];
    float together[COUNT] = {0}, apart[COUNT] = {0};
    fill(first, COUNT, 0);
    fill(second, COUNT, 1);
    fill(student, COUNT, 2);
    const struct teacher teachers[] = {{first, 0.3}, {second, 0.7}};
    run("temperature=2,weight=1", N, CLASSES, teachers, 2, student, together);
    run_one("temperature=2,weight=0.3", N, CLASSES, first, student, apart);
    run_one("temperature=2,weight=0.7", N, CLASSES, second, student, apart);
    assert_true(support_difference(together, apart, COUNT) < 1e-7);
}

static void one_class_has_no_loss(void **state)
{
    const float teacher[] = {3, 4}, student[] = {-7, 0};
    float diff[2] = {0};
    assert_true(run_one("", 2, 1, teacher, student, diff) == 0);
    assert_true(diff[0] == 0 && diff[1] == 0);
}

static void a_temperature_out_of_range_is_refused(void **state)
{
    const struct setting_table *table = loss_of(LOSS_kl)->settings;
    struct arena arena = {0};
    void *chosen = arena_get(&arena, table->bytes);
    assert_non_null(chosen);
    assert_fails(settings_parse(table, chosen, "kl", "temperature=0", &arena), RETORT_INVALID,
                 "from 0.01 to 1000");
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_the_outside_implementation),
        cmocka_unit_test(two_teachers_agree_with_the_outside_implementation),
        cmocka_unit_test(large_logits_do_not_overflow),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(standardised_logits_are_those_of_the_paper),
        cmocka_unit_test(standardised_logits_have_neither_place_nor_size),
        cmocka_unit_test(a_student_equal_to_its_teacher_has_no_loss),
        cmocka_unit_test(a_probability_of_zero_adds_nothing),
        cmocka_unit_test(a_high_temperature_matches_centred_logits),
        cmocka_unit_test(averaging_probabilities_and_losses_give_one_gradient),
        cmocka_unit_test(one_class_has_no_loss),
        cmocka_unit_test(a_temperature_out_of_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
