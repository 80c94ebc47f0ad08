/* test_estimate.c - about how long a run still takes: known by thought. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "train/estimate.h"

/* Two teachers of 10 steps, a student in two stages of 5 steps; a teacher's step costs four times
 * the student's first stage's, the second stage's steps twice of it. */
static void make(struct estimate *estimate)
{
    static const struct estimate_stage stages[] = {{.part = "teacher-1", .cost = 400, .steps = 10},
                                                   {.part = "teacher-2", .cost = 400, .steps = 10},
                                                   {.part = "student", .cost = 100, .steps = 5},
                                                   {"student", 1, 200, 5, 0, 0, 0}};
    *estimate = (struct estimate){0};
    for (int i = 0; i < 4; i++)
        assert_ok(estimate_add(estimate, &stages[i]));
}

static void assert_near(double found, double wanted)
{
    if (!(fabs(found - wanted) < 1e-9 * (1 + fabs(wanted))))
        fail_msg("%.12g found, %.12g wanted", found, wanted);
}

static void before_two_steps_only_the_share_is_known(void **state)
{
    struct estimate estimate;
    make(&estimate);
    assert_near(estimate_left(&estimate), -1);
    assert_near(estimate_share(&estimate), 0);
    estimate_note(&estimate, "teacher-1", 0, 1, 100);
    assert_near(estimate_left(&estimate), -1);
    assert_near(estimate_share(&estimate), 400 / 9500.0);
    estimate_release(&estimate);
    estimate_release(&estimate); /* zeroed: does nothing */
}

static void stages_that_have_not_begun_are_reckoned_by_cost(void **state)
{
    struct estimate estimate;
    make(&estimate);
    estimate_note(&estimate, "teacher-1", 0, 1, 100);
    estimate_note(&estimate, "teacher-1", 0, 3, 108); /* 4 s a step, 0.01 s a unit of cost */
    assert_near(estimate_left(&estimate), 7 * 4 + 10 * 4 + 5 * 1 + 5 * 2);
    assert_near(estimate_share(&estimate), 12.0 / 95);
    estimate_note(&estimate, "teacher-1", 0, 3, 110); /* saving takes time, too: 5 s a step */
    assert_near(estimate_left(&estimate), (7 * 4 + 10 * 4 + 5 * 1 + 5 * 2) * 1.25);
    estimate_release(&estimate);
}

static void what_was_measured_counts_more_than_cost(void **state)
{
    struct estimate estimate;
    make(&estimate);
    estimate_note(&estimate, "teacher-1", 0, 1, 0);
    estimate_note(&estimate, "teacher-1", 0, 10, 36);
    estimate_note(&estimate, "teacher-2", 0, 1, 50); /* as teacher-1, whose steps cost the same */
    assert_near(estimate_left(&estimate), 9 * 4 + 5 * 1 + 5 * 2);
    estimate_note(&estimate, "teacher-2", 0, 10, 50 + 9 * 4);
    estimate_note(&estimate, "student", 0, 1, 100);
    estimate_note(&estimate, "student", 0, 3, 106); /* 3 s a step, three times what cost says */
    assert_near(estimate_left(&estimate), 2 * 3 + 5 * 200 * (78 / 7400.0));
    estimate_note(&estimate, "student", 1, 1, 200);
    estimate_note(&estimate, "student", 1, 5, 204);
    assert_near(estimate_left(&estimate), 0);
    assert_near(estimate_share(&estimate), 1);
    estimate_release(&estimate);
}

static void a_resumed_run_does_not_measure_what_was_done_before(void **state)
{
    struct estimate estimate;
    make(&estimate);
    estimate.stages[0].done = 10; /* its model is there */
    estimate_note(&estimate, "teacher-2", 0, 6, 0);
    assert_near(estimate_share(&estimate), (4000 + 2400) / 9500.0);
    estimate_note(&estimate, "teacher-2", 0, 8, 2);
    assert_near(estimate_left(&estimate), 2 * 1 + (500 + 1000) / 400.0);
    estimate_release(&estimate);
}

static void an_unknown_part_changes_nothing(void **state)
{
    struct estimate estimate;
    make(&estimate);
    estimate_note(&estimate, "baseline", 0, 1, 0);
    estimate_note(&estimate, "teacher-1", 1, 2, 9);
    assert_near(estimate_share(&estimate), 0);
    estimate_release(&estimate);
    assert_near(estimate_left(&estimate), 0); /* no parts, no work */
    assert_near(estimate_share(&estimate), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_two_steps_only_the_share_is_known),
        cmocka_unit_test(stages_that_have_not_begun_are_reckoned_by_cost),
        cmocka_unit_test(what_was_measured_counts_more_than_cost),
        cmocka_unit_test(a_resumed_run_does_not_measure_what_was_done_before),
        cmocka_unit_test(an_unknown_part_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
