/* test_ensemble.c - who teaches in a step: every rule's shares, that all teachers get their turn
 * equally often, that draws depend on (seed, step) alone, and what averaging does to the student's
 * gradient. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "distill/ensemble.h"
#include "distill/loss.h"

enum { TEACHERS = 5, STEPS = 4000 };

static struct ensemble parsed(const char *text)
{
    struct arena arena = {0};
    struct ensemble ensemble;
    assert_ok(settings_parse(&ensemble_settings, &ensemble, "ensemble", text, &arena));
    arena_release(&arena);
    return ensemble;
}

/* Over many steps: mean and least share of each teacher, how often its maps are looked at. */
struct tally {
    double share[TEACHERS], gram[TEACHERS];
    int least, most; /* members of a step */
};

static struct tally tally_of(const char *text)
{
    const struct ensemble ensemble = parsed(text);
    struct tally tally = {.least = TEACHERS};
    for (uint32_t step = 0; step < STEPS; step++) {
        struct ensemble_member members[TEACHERS];
        const int count = ensemble_draw(&ensemble, TEACHERS, true, 7, step, members);
        double sum = 0;
        for (int i = 0; i < count; i++) {
            assert_true(i == 0 || members[i].teacher > members[i - 1].teacher);
            assert_true(members[i].share > 0 || members[i].maps);
            sum += members[i].share;
            tally.share[members[i].teacher] += members[i].share / STEPS;
            tally.gram[members[i].teacher] += (double)members[i].maps / STEPS;
        }
        assert_float_equal(sum, 1, 1e-12);
        tally.least = count < tally.least ? count : tally.least;
        tally.most = count > tally.most ? count : tally.most;
    }
    return tally;
}

static void every_teacher_gets_the_same_share_in_the_long_run(void **state)
{
    static const char *const rules[] = {"rule=random-k,k=2",
                                        "rule=random-k,k=1",
                                        "rule=mean",
                                        "rule=random-weights,weights=uniform",
                                        "rule=random-weights,weights=dirichlet",
                                        "rule=mean-logits"};
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        const struct tally tally = tally_of(rules[i]);
        for (int t = 0; t < TEACHERS; t++)
            if (!(fabs(tally.share[t] - 1.0 / TEACHERS) < 0.02))
                fail_msg("%s: teacher %d has %.3f in the mean, %.3f wanted", rules[i], t,
                         tally.share[t], 1.0 / TEACHERS);
    }
}

static void random_k_runs_k_teachers(void **state)
{
    struct tally tally = tally_of("rule=random-k,k=2,gram_teacher=random");
    assert_int_equal(tally.least, 2);
    assert_int_equal(tally.most, 2);
    tally = tally_of("rule=random-k,k=9,gram_teacher=mean"); /* there are five */
    assert_int_equal(tally.least, 5);
    /* The first one runs for its maps also when it was not drawn. */
    tally = tally_of("rule=random-k,k=2,gram_teacher=first");
    assert_int_equal(tally.least, 2);
    assert_int_equal(tally.most, 3);
}

static void maps_come_from_who_was_asked(void **state)
{
    const struct tally first = tally_of("rule=random-k,k=2,gram_teacher=first");
    const struct tally random = tally_of("rule=random-k,k=2,gram_teacher=random");
    const struct tally mean = tally_of("rule=random-k,k=2,gram_teacher=mean");
    for (int t = 0; t < TEACHERS; t++) {
        assert_float_equal(first.gram[t], t == 0, 0);
        assert_float_equal(random.gram[t], 0.2, 0.03);
        assert_float_equal(mean.gram[t], 0.4, 0.03);
    }
    struct ensemble_member members[TEACHERS];
    const struct ensemble ensemble = parsed("rule=random-k,k=2,gram_teacher=first");
    for (uint32_t step = 0; step < 100; step++)
        assert_int_equal(ensemble_draw(&ensemble, TEACHERS, false, 7, step, members), 2);
    assert_false(ensemble_many_maps(&ensemble, TEACHERS));
    const struct ensemble all = parsed("rule=mean,gram_teacher=mean");
    assert_true(ensemble_many_maps(&all, TEACHERS));
    assert_false(ensemble_many_maps(&all, 1));
}

static void draws_depend_on_seed_and_step_alone(void **state)
{
    const struct ensemble ensemble = parsed("rule=random-weights");
    struct ensemble_member a[TEACHERS], b[TEACHERS];
    ensemble_draw(&ensemble, TEACHERS, false, 1, 10, a);
    ensemble_draw(&ensemble, TEACHERS, false, 1, 11, b);
    assert_true(a[0].share != b[0].share);
    ensemble_draw(&ensemble, TEACHERS, false, 2, 10, b);
    assert_true(a[0].share != b[0].share);
    ensemble_draw(&ensemble, TEACHERS, false, 1, 10, b);
    for (int i = 0; i < TEACHERS; i++)
        assert_true(a[i].teacher == b[i].teacher && a[i].share == b[i].share);
}

/* The squares of Dirichlet(1) shares are 2 / (N (N + 1)) in the mean, those of normalised uniform
 * numbers are less. */
static void dirichlet_shares_are_spread_as_they_should_be(void **state)
{
    const struct ensemble dirichlet = parsed("rule=random-weights,weights=dirichlet");
    const struct ensemble uniform = parsed("rule=random-weights,weights=uniform");
    double squares[2] = {0};
    for (uint32_t step = 0; step < STEPS; step++) {
        struct ensemble_member members[TEACHERS];
        ensemble_draw(&dirichlet, TEACHERS, false, 3, step, members);
        squares[0] += members[0].share * members[0].share / STEPS;
        ensemble_draw(&uniform, TEACHERS, false, 3, step, members);
        squares[1] += members[0].share * members[0].share / STEPS;
    }
    assert_float_equal(squares[0], 2.0 / (TEACHERS * (TEACHERS + 1)), 0.005);
    assert_true(squares[1] < squares[0] - 0.005);
}

/* ---- what averaging does ---- */

enum { N = 3, CLASSES = 4, COUNT = N * CLASSES };

struct view {
    const float *logits;
    double share;
};

/* The gradient that kl gives the student. */
static void kl_gradient(const struct view *teachers, int count, const float *student, float *diff)
{
    const struct loss *kl = loss_of(LOSS_kl);
    const struct loss_shapes shapes = {.n = N, .classes = CLASSES, .teacher_taps = (void *)1};
    struct arena arena = {0};
    void *settings, *loss;
    assert_ok(arena_take(&arena, kl->settings->bytes, &settings));
    assert_ok(settings_parse(kl->settings, settings, "kl", "temperature=2", &arena));
    assert_ok(kl->create(settings, &shapes, &loss));
    memset(diff, 0, COUNT * sizeof(*diff));
    kl->begin(loss);
    for (int i = 0; i < count; i++)
        kl->teacher(
            loss, &(struct teacher_view){.logits = teachers[i].logits, .share = teachers[i].share});
    kl->student(loss, 1, &(struct student_view){.logits = student, .diff_logits = diff});
    kl->destroy(loss);
    arena_release(&arena);
}

static void averaging_probabilities_is_averaging_losses_and_not_averaging_logits(void **state)
{
    static const float a[COUNT] = {3, 1, 0, -1, 0, 2, 0, 0, 1, 1, 1, 5},
                       b[COUNT] = {-1, 2, 2, 0, 4, 0, 0, 1, 0, 0, 3, 1},
                       student[COUNT] = {0, 1, -1, 0, 1, 1, 0, 2, 0, -2, 0, 1};
    float probabilities[COUNT], of_a[COUNT], of_b[COUNT], mean[COUNT], logits[COUNT];
    const struct view both[] = {{a, 0.25}, {b, 0.75}};
    kl_gradient(both, 2, student, probabilities);
    kl_gradient(&(struct view){a, 1}, 1, student, of_a);
    kl_gradient(&(struct view){b, 1}, 1, student, of_b);
    for (int i = 0; i < COUNT; i++)
        mean[i] = 0.25f * a[i] + 0.75f * b[i];
    kl_gradient(&(struct view){mean, 1}, 1, student, logits);
    double apart = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_float_equal(probabilities[i], 0.25f * of_a[i] + 0.75f * of_b[i], 1e-6);
        apart = fmax(apart, fabs((double)(probabilities[i] - logits[i])));
    }
    assert_true(apart > 0.01);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_teacher_gets_the_same_share_in_the_long_run),
        cmocka_unit_test(random_k_runs_k_teachers),
        cmocka_unit_test(maps_come_from_who_was_asked),
        cmocka_unit_test(draws_depend_on_seed_and_step_alone),
        cmocka_unit_test(dirichlet_shares_are_spread_as_they_should_be),
        cmocka_unit_test(averaging_probabilities_is_averaging_losses_and_not_averaging_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
