/* test_ce.c - cross-entropy. */
#include "golden.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/random.h"
#include "distill/loss.h"

/* A cross-entropy of its own for one call; diff is added to. others, shares may be NULL. */
static double run_mixed(const char *text, int n, int classes, const float *logits,
                        const int *labels, const int *others, const float *shares, double weight,
                        float *diff)
{
    const struct loss *loss = loss_of(LOSS_ce);
    const struct loss_shapes shapes = {.n = n, .classes = classes};
    const struct student_view student = {.logits = logits,
                                         .labels = labels,
                                         .others = others,
                                         .shares = shares,
                                         .diff_logits = diff};
    struct arena arena = {0};
    void *state, *settings;
    assert_ok(arena_take(&arena, loss->settings->bytes, &settings));
    assert_ok(settings_parse(loss->settings, settings, "ce", text, &arena));
    assert_ok(loss->create(settings, &shapes, &state));
    double value = loss->student(state, weight, &student);
    loss->destroy(state);
    arena_release(&arena);
    return value;
}

static double run(int n, int classes, const float *logits, const int *labels, double weight,
                  float *diff)
{
    return run_mixed("", n, classes, logits, labels, NULL, NULL, weight, diff);
}

static void check_golden(const char *name)
{
    struct golden golden;
    golden_open(&golden, name);
    const float *logits = golden_floats(&golden, "logits", GOLDEN_DIMS(7, 10));
    const int32_t *labels = golden_ints(&golden, "labels", GOLDEN_DIMS(7));
    float diff[70] = {0};
    double value = run(7, 10, logits, labels, 1, diff);
    golden_check_number(&golden, "loss", value, "loss", 4);
    golden_check(&golden, "grad_logits", diff, "grad", 4);
    golden_close(&golden);
}

static void it_agrees_with_the_outside_implementation(void **state)
{
    check_golden("op_cross_entropy");
}

static void large_logits_do_not_overflow(void **state)
{
    check_golden("op_cross_entropy_large_logits");
    const float logits[] = {3e38f, -3e38f, 3e38f, -3e38f};
    const int labels[] = {0, 1};
    float diff[4] = {0};
    double value = run(2, 2, logits, labels, 1, diff);
    assert_true(value > 2.9e38 && isfinite(value));
    const float wanted[] = {0, 0, 0.5f, -0.5f};
    assert_true(support_difference(diff, wanted, 4) == 0);
}

static void its_gradient_is_the_finite_difference(void **state)
{
    enum { N = 3, CLASSES = 5 };
    float logits[N * CLASSES], diff[N * CLASSES] = {0}, ignored[N * CLASSES];
    const int labels[N] = {4, 0, 2};
    struct random_stream stream = random_stream(1, RANDOM_TEST, 0, 0);
    for (int i = 0; i < N * CLASSES; i++)
        logits[i] = (float)random_normal(&stream, (uint64_t)i);
    run(N, CLASSES, logits, labels, 1, diff);
    for (int i = 0; i < N * CLASSES; i++) {
        const float kept = logits[i], step = 1.0f / 256;
        logits[i] = kept + step;
        double above = run(N, CLASSES, logits, labels, 1, ignored);
        logits[i] = kept - step;
        double below = run(N, CLASSES, logits, labels, 1, ignored);
        logits[i] = kept;
        assert_float_equal((above - below) / (2.0 * step), diff[i], 1e-5);
    }
}

static void the_weight_scales_the_gradient_but_not_the_value(void **state)
{
    const float logits[] = {1, 2, 3};
    const int label = 0;
    float once[3] = {0}, more[3] = {5, 5, 5};
    double a = run(1, 3, logits, &label, 1, once), b = run(1, 3, logits, &label, 4, more);
    assert_true(a == b);
    for (int k = 0; k < 3; k++)
        assert_float_equal(more[k], 5 + 4 * once[k], 1e-6);
}

static void one_class_has_no_loss(void **state)
{
    const float logits[] = {7, -7};
    const int labels[] = {0, 0};
    float diff[2] = {0};
    assert_true(run(2, 1, logits, labels, 1, diff) == 0);
    assert_true(diff[0] == 0 && diff[1] == 0);
}

static void equal_logits_give_the_log_of_the_classes(void **state)
{
    float logits[100], diff[100] = {0};
    const int label = 3;
    for (int k = 0; k < 100; k++)
        logits[k] = 42;
    assert_float_equal(run(1, 100, logits, &label, 1, diff), log(100), 1e-12);
}

static void threads_change_nothing(void **state)
{
    enum { N = 61, CLASSES = 17 };
    float logits[N * CLASSES], one[N * CLASSES] = {0}, three[N * CLASSES] = {0};
    int labels[N];
    struct random_stream stream = random_stream(2, RANDOM_TEST, 0, 0);
    for (int i = 0; i < N * CLASSES; i++)
        logits[i] = (float)random_normal(&stream, (uint64_t)i);
    for (int i = 0; i < N; i++)
        labels[i] = i % CLASSES;
    omp_set_num_threads(1);
    double a = run(N, CLASSES, logits, labels, 1, one);
    omp_set_num_threads(3);
    double b = run(N, CLASSES, logits, labels, 1, three);
    assert_true(a == b);
    assert_memory_equal(one, three, sizeof(one));
}

/* Worked by hand from the definition: q log p with q of two labels and a part for all. */
static void smoothed_and_mixed_labels_follow_the_definition(void **state)
{
    enum { N = 2, CLASSES = 3 };
    const float logits[N * CLASSES] = {0.5f, -1, 2, 1, 0, 0.25f}, shares[N] = {0.7f, 1};
    const int labels[N] = {0, 2}, others[N] = {2, 1};
    float diff[N * CLASSES] = {0};
    double wanted = 0, slopes[N * CLASSES];
    for (int i = 0; i < N; i++) {
        double sum = 0;
        for (int k = 0; k < CLASSES; k++)
            sum += exp((double)logits[i * CLASSES + k]);
        for (int k = 0; k < CLASSES; k++) {
            const double p = exp((double)logits[i * CLASSES + k]) / sum;
            const double q = 0.9 * ((double)shares[i] * (k == labels[i]) +
                                    (1 - (double)shares[i]) * (k == others[i])) +
                             0.1 / CLASSES;
            wanted -= q * log(p) / N;
            slopes[i * CLASSES + k] = 2 * (p - q) / N;
        }
    }
    const double value =
        run_mixed("smoothing=0.1", N, CLASSES, logits, labels, others, shares, 2, diff);
    assert_float_equal(value, wanted, 1e-7);
    for (int i = 0; i < N * CLASSES; i++)
        assert_float_equal(diff[i], slopes[i], 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_the_outside_implementation),
        cmocka_unit_test(large_logits_do_not_overflow),
        cmocka_unit_test(its_gradient_is_the_finite_difference),
        cmocka_unit_test(smoothed_and_mixed_labels_follow_the_definition),
        cmocka_unit_test(the_weight_scales_the_gradient_but_not_the_value),
        cmocka_unit_test(one_class_has_no_loss),
        cmocka_unit_test(equal_logits_give_the_log_of_the_classes),
        cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
