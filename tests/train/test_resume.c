/* test_resume.c - a run that was stopped anywhere and went on ends with the same bytes as one that
 * was not. */
#include "tiny_run.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "tiny.h"

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

/* ---- other ways to distil ---- */

enum { MOST_OVERRIDES = 6 };

/* Each has a state of its own: several students, students one after the other, files of what
 * teachers said, gradients that are cut. */
static const struct method {
    const char *name, *overrides[MOST_OVERRIDES], *file;
} methods[] = {
    {"peers",
     {"teacher.network=", "teacher.count=0", "distill.peers=3", "student.baseline=false"},
     "student"},
    {"generations",
     {"distill.generations=3", "student.baseline=false", "student.train.lr=0.01"},
     "generation-2"},
    {"cached", /* one view: from the second epoch on teachers are not asked */
     {"distill.cache=on", "distill.cache_maps=on", "data.views=1",
      "distill.ensemble.gram_teacher=first"},
     "student"},
    {"balanced", {"distill.balance=grad-norm"}, "student"},
    {"means",
     {"distill.ensemble.rule=mean-logits", "distill.ensemble.k=2",
      "distill.ensemble.gram_teacher=mean"},
     "student"},
};

static int stop_after(void *context, const struct retort_progress *progress)
{
    struct tiny_stop *stop = context;
    (void)progress;
    return ++stop->seen == stop->after;
}

static enum retort_status run_method(const struct method *method, const char *folder, bool resume,
                                     struct tiny_stop *stop)
{
    struct retort_run_result result;
    struct retort_run_options options = {.recipe = tiny_recipe(),
                                         .overrides = method->overrides,
                                         .folder = folder,
                                         .resume = resume,
                                         .save_minutes = 1e-9,
                                         .listener = stop_after,
                                         .context = stop};
    while (options.override_count < MOST_OVERRIDES && method->overrides[options.override_count])
        options.override_count++;
    TRY(retort_run(&options, &result));
    retort_run_release(&result);
    return RETORT_OK;
}

static void every_method_goes_on_where_it_was_stopped(void **state)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        const struct method *method = &methods[i];
        struct tiny_stop whole = {0};
        char name[64], first[256], second[256];
        snprintf(first, sizeof(first), "%s", support_path(method->name));
        assert_ok(run_method(method, first, false, &whole));
        const int stops[] = {whole.seen * 3 / 8, whole.seen * 5 / 8, whole.seen * 7 / 8,
                             whole.seen - STEPS};
        for (size_t at = 0; at < sizeof(stops) / sizeof(stops[0]); at++) {
            struct tiny_stop stop = {.after = stops[at]}, rest = {0};
            snprintf(name, sizeof(name), "%s-%zu", method->name, at);
            snprintf(second, sizeof(second), "%s", support_path(name));
            assert_fails(run_method(method, second, false, &stop), RETORT_STOPPED, "stopped");
            assert_ok(run_method(method, second, true, &rest));
            for (int file = 0; file < 2; file++) {
                snprintf(name, sizeof(name), "%s.safetensors", file ? "student" : method->file);
                char *a = file_join(first, name), *b = file_join(second, name);
                tiny_assert_equal_files(a, b);
                free(a);
                free(b);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_stopped_after_any_event_ends_the_same),
        cmocka_unit_test(a_run_stopped_many_times_ends_the_same),
        cmocka_unit_test(a_finished_run_may_be_resumed),
        cmocka_unit_test(training_then_distilling_is_the_whole_run),
        cmocka_unit_test(a_lost_state_costs_a_part_and_no_more),
        cmocka_unit_test(every_method_goes_on_where_it_was_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
