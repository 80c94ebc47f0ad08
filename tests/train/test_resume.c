/* test_resume.c - a run that was stopped anywhere and went on ends with the same bytes as one that
 * was not. */
#include "tiny_run.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

/* ---- stopping and going on ---- */

/* And no step is done twice. */
static void a_run_stopped_after_any_event_ends_the_same(void **state)
{
    char name[32], folder[256];
    for (int after = 1; after <= EVENTS; after++) {
        struct tiny_stop rest = {0, 0, 0};
        snprintf(name, sizeof(name), "stopped-%d", after);
        snprintf(folder, sizeof(folder), "%s", support_path(name));
        const long steps = tiny_assert_stopped(folder, false, after);
        assert_ok(tiny_run(folder, 0, true, &rest));
        assert_int_equal(steps + rest.steps, PARTS * EPOCHS * STEPS);
        tiny_assert_equal_runs(tiny_whole_run(), folder);
    }
}

/* Stopped again and again, a few steps each time. */
static void a_run_stopped_many_times_ends_the_same(void **state)
{
    char folder[256];
    int runs = 0;
    snprintf(folder, sizeof(folder), "%s", support_path("halting"));
    for (enum retort_status status = RETORT_STOPPED; status == RETORT_STOPPED; runs++) {
        struct tiny_stop stop = {STEPS + PARTS + 2, 0,
                                 0}; /* ended parts and the images are events too */
        status = tiny_run(folder, 0, runs > 0, &stop);
        assert_true(status == RETORT_OK || status == RETORT_STOPPED);
        assert_true(runs < 60);
    }
    assert_true(runs > 3);
    tiny_assert_equal_runs(tiny_whole_run(), folder);
}

static void a_finished_run_may_be_resumed(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("again"));
    assert_ok(tiny_run(folder, 0, false, NULL));
    assert_ok(tiny_run(folder, 0, true, NULL));
    tiny_assert_equal_runs(tiny_whole_run(), folder);
}

static void training_then_distilling_is_the_whole_run(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("halves"));
    assert_ok(tiny_run(folder, RETORT_TEACHERS | RETORT_BASELINE, false, NULL));
    assert_ok(tiny_run(folder, RETORT_STUDENT, true, NULL));
    tiny_assert_equal_runs(tiny_whole_run(), folder);
    assert_ok(tiny_run(folder, RETORT_TEACHERS, true, NULL)); /* forgets nothing */
    tiny_assert_equal_runs(tiny_whole_run(), folder);
}

static void a_lost_state_costs_a_part_and_no_more(void **state)
{
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", support_path("lost"));
    tiny_assert_stopped(folder, false, 2 + STEPS + 1);
    char *path = file_join(folder, "state/current.safetensors");
    assert_true(file_exists(path));
    assert_ok(file_remove(path));
    free(path);
    assert_ok(tiny_run(folder, 0, true, NULL));
    tiny_assert_equal_runs(tiny_whole_run(), folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_stopped_after_any_event_ends_the_same),
        cmocka_unit_test(a_run_stopped_many_times_ends_the_same),
        cmocka_unit_test(a_finished_run_may_be_resumed),
        cmocka_unit_test(training_then_distilling_is_the_whole_run),
        cmocka_unit_test(a_lost_state_costs_a_part_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
