/* test_list.c - which runs there are, and how far they are. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/lock.h"
#include "report/made_run.h"
#include "retort/report.h"

static void runs_are_found_below_a_folder_in_their_order(void **state)
{
    struct retort_run_list list;
    made_run("all/b/seed-10", "ten", 10, 50, 52);
    made_run("all/b/seed-9", "nine", 9, 50, 52.5);
    made_run("all/a", "a", 1, 1, 2);
    made_run("all/a/below", "hidden", 1, 1, 2);
    assert_ok(retort_list_runs(support_path("all"), &list));
    assert_int_equal(list.count, 3);
    assert_string_equal(list.entries[0].name, "a");
    assert_string_equal(list.entries[1].name, "nine");
    assert_string_equal(list.entries[2].name, "ten");
    assert_true(list.entries[1].student == 52.5);
    assert_true(list.entries[1].teacher == 70);
    retort_run_list_release(&list);
}

static double teacher_of(const char *summary)
{
    struct retort_run_list list;
    const char *folder = made_run("taught", "taught", 1, 1, 2);
    made_run_write(folder, "run.json", summary);
    assert_ok(retort_list_runs(folder, &list));
    const double teacher = list.entries[0].teacher;
    retort_run_list_release(&list);
    return teacher;
}

static void several_teachers_are_told_by_their_mean(void **state)
{
    assert_true(teacher_of("{\"teachers\": [{\"top1\": 70}, {\"top1\": 71}]}") == 70.5);
    assert_true(teacher_of("{\"teachers\": []}") == -1);
    assert_true(teacher_of("{}") == -1);
}

static void a_damaged_run_hides_no_other(void **state)
{
    static const char *const files[] = {"run.json", "metrics.jsonl"};
    for (int i = 0; i < 2; i++) {
        struct retort_run_list list;
        made_run(i ? "some-1/good" : "some-0/good", "good", 1, 1, 2);
        made_run_write(made_run(i ? "some-1/bad" : "some-0/bad", "bad", 1, 1, 2), files[i],
                       "{\"part\": ");
        assert_ok(retort_list_runs(support_path(i ? "some-1" : "some-0"), &list));
        assert_int_equal(list.count, 2);
        assert_int_equal(list.entries[0].state, RETORT_RUN_DAMAGED);
        assert_non_null(strstr(list.entries[0].fault, files[i]));
        assert_true(list.entries[0].student == -1);
        assert_string_equal(list.entries[1].name, "good");
        assert_null(list.entries[1].fault);
        retort_run_list_release(&list);
    }
}

static enum retort_run_state state_of(const char *folder)
{
    struct retort_run_list list;
    assert_ok(retort_list_runs(folder, &list));
    assert_int_equal(list.count, 1);
    const enum retort_run_state found = list.entries[0].state;
    retort_run_list_release(&list);
    return found;
}

static void a_lock_that_is_held_means_running(void **state)
{
    const char *folder = made_run("locked", "locked", 1, 1, 2);
    char *path = file_join(folder, "lock");
    struct lock lock;
    bool taken = false;
    assert_int_equal(state_of(folder), RETORT_RUN_DONE);
    assert_ok(lock_take(path, &lock, &taken));
    assert_true(taken);
    assert_int_equal(state_of(folder), RETORT_RUN_RUNNING);
    lock_release(&lock);
    made_run_write(folder, "lock", ""); /* left by a process that was killed */
    assert_int_equal(state_of(folder), RETORT_RUN_DONE);
    free(path);
}

static void a_run_that_is_not_done_tells_its_place(void **state)
{
    struct retort_run_list list;
    const char *folder = made_run("stopped", "stopped", 1, 1, 2);
    char *summary = file_join(folder, "run.json");
    assert_ok(file_remove(summary));
    made_run_write(folder, "metrics.jsonl",
                   "{\"part\":\"teacher-1\",\"epoch\":1,\"epochs\":9,\"seconds\":2}\n"
                   "{\"part\":\"baseline\",\"epoch\":3,\"epochs\":7,\"seconds\":0.5}\n");
    assert_ok(retort_list_runs(folder, &list));
    assert_int_equal(list.entries[0].state, RETORT_RUN_STOPPED);
    assert_string_equal(list.entries[0].part, "baseline");
    assert_int_equal(list.entries[0].epoch, 3);
    assert_int_equal(list.entries[0].epochs, 7);
    assert_true(list.entries[0].seconds == 2.5);
    assert_true(list.entries[0].student < 0);
    retort_run_list_release(&list);
    free(summary);
}

static void no_folder_is_a_failure_and_an_empty_one_is_not(void **state)
{
    struct retort_run_list list;
    assert_fails(retort_list_runs("/nowhere/at/all", &list), RETORT_IO, "/nowhere/at/all");
    const char *folder = support_path("empty");
    assert_ok(file_make_folder(folder));
    assert_ok(retort_list_runs(folder, &list));
    assert_int_equal(list.count, 0);
    retort_run_list_release(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_found_below_a_folder_in_their_order),
        cmocka_unit_test(a_damaged_run_hides_no_other),
        cmocka_unit_test(several_teachers_are_told_by_their_mean),
        cmocka_unit_test(a_lock_that_is_held_means_running),
        cmocka_unit_test(a_run_that_is_not_done_tells_its_place),
        cmocka_unit_test(no_folder_is_a_failure_and_an_empty_one_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
