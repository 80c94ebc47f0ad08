/* test_schedule.c - learning rates against numbers worked out by hand. */
#include "support.h"

#include <math.h>

#include "train/schedule.h"

static void assert_rates(const struct recipe_train *train, long steps, const double *wanted)
{
    for (long step = 0; step < steps; step++) {
        double found = schedule_rate(train, step, steps);
        if (!(fabs(found - wanted[step]) <= 1e-12))
            fail_msg("step %ld of %ld: %.15g found, %.15g wanted", step, steps, found,
                     wanted[step]);
    }
}

/* 10 steps, 4 of them rising: the peak is reached at step 4, where the fall begins. */
static void one_cycle_rises_to_the_peak_and_falls_to_zero(void **state)
{
    const struct recipe_train train = {.schedule = SCHEDULE_ONE_CYCLE, .lr = 0.3, .warmup = 0.4};
    const double wanted[] = {0.06, 0.12, 0.18, 0.24, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05};
    assert_rates(&train, 10, wanted);
    assert_true(schedule_rate(&train, 10, 10) == 0);
}

static void one_cycle_without_warmup_only_falls(void **state)
{
    const struct recipe_train train = {.schedule = SCHEDULE_ONE_CYCLE, .lr = 1, .warmup = 0};
    assert_rates(&train, 4, (const double[]){1, 0.75, 0.5, 0.25});
}

static void one_cycle_of_warmup_alone_only_rises(void **state)
{
    const struct recipe_train train = {.schedule = SCHEDULE_ONE_CYCLE, .lr = 1, .warmup = 1};
    assert_rates(&train, 4, (const double[]){0.2, 0.4, 0.6, 0.8});
}

static void one_cycle_is_never_zero_negative_or_above_its_peak(void **state)
{
    for (long steps = 1; steps < 40; steps++)
        for (int warmup = 0; warmup <= 10; warmup++) {
            const struct recipe_train train = {
                .schedule = SCHEDULE_ONE_CYCLE, .lr = 0.2, .warmup = warmup / 10.0};
            for (long step = 0; step < steps; step++) {
                double rate = schedule_rate(&train, step, steps);
                assert_true(rate > 0 && rate <= 0.2 + 1e-12);
            }
        }
}

/* 30 and 80 percent of 10 steps are steps 3 and 8; of 7 steps they are 2.1 and 5.6, so 3 and 6. */
static void steps_fall_at_the_milestones(void **state)
{
    int milestones[] = {30, 80};
    const struct recipe_train train = {
        .schedule = SCHEDULE_STEP, .lr = 1, .gamma = 0.5, .milestones = {2, milestones}};
    assert_rates(&train, 10, (const double[]){1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25});
    assert_rates(&train, 7, (const double[]){1, 1, 1, 0.5, 0.5, 0.5, 0.25});
}

static void a_constant_stays(void **state)
{
    const struct recipe_train train = {.schedule = SCHEDULE_CONSTANT, .lr = 0.7};
    assert_rates(&train, 3, (const double[]){0.7, 0.7, 0.7});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_cycle_rises_to_the_peak_and_falls_to_zero),
        cmocka_unit_test(one_cycle_without_warmup_only_falls),
        cmocka_unit_test(one_cycle_of_warmup_alone_only_rises),
        cmocka_unit_test(one_cycle_is_never_zero_negative_or_above_its_peak),
        cmocka_unit_test(steps_fall_at_the_milestones),
        cmocka_unit_test(a_constant_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
