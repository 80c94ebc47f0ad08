/* test_events.c - event files, read back by a reader of the tests' own. */
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"
#include "event_file.h"
#include "train/events.h"

/* A line of metrics.jsonl; every number follows from the epoch. */
static void add(struct events *events, const char *part, int epoch, bool val)
{
    json_t *line = json_pack(
        "{s:s, s:i, s:f, s:{s:{s:f, s:f}, s:{s:f, s:f}}, s:f, s:f, s:f, s:f, s:I}", "part", part,
        "epoch", epoch, "loss", 2.5 / epoch, "losses", "ce", "raw", 0.0, "weighted", 0.5, "kl",
        "raw", 0.25 * epoch, "weighted", 1.75, "train_top1", 12.5 * epoch, "rate", 0.125,
        "images_per_second", 1024.0, "waited_percent", 0.5, "peak_bytes", (json_int_t)1 << 28);
    assert_non_null(line);
    if (val)
        json_object_set_new(line, "val_top1", json_real(50));
    assert_ok(events_add_epoch(events, line));
    json_decref(line);
}

static void open_in(const char *name, struct events *events)
{
    assert_ok(events_open(support_path(name), true, events));
}

static void read_part(const char *name, const char *part, struct event_log *log)
{
    char *events = file_join(support_path(name), "events"), *below = file_join(events, part);
    event_log_read(below, log);
    free(events);
    free(below);
}

static struct event_log event_log; /* too large for the stack */

static void the_checksum_of_the_tests_is_the_known_one(void **state)
{
    assert_int_equal(event_checksum("123456789", 9), 0xE3069283u);
    assert_int_equal(event_checksum("", 0), 0);
}

static void what_was_written_is_read_back(void **state)
{
    struct events events;
    open_in("whole", &events);
    for (int epoch = 1; epoch <= 3; epoch++)
        add(&events, "student", epoch, epoch == 3);
    assert_ok(events_add_test(&events, "student", 3, 87.5));
    read_part("whole", "student", &event_log); /* all is there before the file is closed */
    events_release(&events);
    events_release(&events); /* zeroed: does nothing */
    assert_int_equal(event_log.files, 1);
    assert_int_equal(event_log.count, 3 * 10 + 2);
    for (int epoch = 1; epoch <= 3; epoch++) {
        assert_true(event_log_value(&event_log, "loss/total", epoch) == (float)(2.5 / epoch));
        assert_true(event_log_value(&event_log, "loss_raw/ce", epoch) == 0);
        assert_true(event_log_value(&event_log, "loss_weighted/ce", epoch) == 0.5f);
        assert_true(event_log_value(&event_log, "loss_raw/kl", epoch) == 0.25f * (float)epoch);
        assert_true(event_log_value(&event_log, "loss_weighted/kl", epoch) == 1.75f);
        assert_true(event_log_value(&event_log, "accuracy/train", epoch) == 12.5f * (float)epoch);
        assert_true(event_log_value(&event_log, "training/learning_rate", epoch) == 0.125f);
        assert_true(event_log_value(&event_log, "training/images_per_second", epoch) == 1024);
        assert_true(event_log_value(&event_log, "training/waited_percent", epoch) == 0.5f);
        assert_true(event_log_value(&event_log, "training/peak_bytes", epoch) == 1 << 28);
    }
    assert_true(event_log_value(&event_log, "accuracy/val", 3) == 50);
    assert_int_equal(event_log_count(&event_log, "accuracy/val"), 1);
    assert_true(event_log_value(&event_log, "accuracy/test", 3) == 87.5f);
}

static void each_part_has_a_folder_of_its_own(void **state)
{
    static const char *const parts[] = {"teacher-1", "baseline", "student"};
    struct events events;
    open_in("parts", &events);
    for (int i = 0; i < 3; i++) {
        add(&events, parts[i], 1, false);
        assert_ok(events_add_test(&events, parts[i], 1, 10 * i));
    }
    events_release(&events);
    for (int i = 0; i < 3; i++) {
        read_part("parts", parts[i], &event_log);
        assert_int_equal(event_log.files, 1);
        assert_true(event_log_value(&event_log, "accuracy/test", 1) == 10.0f * (float)i);
    }
}

/* Three epochs, of which the third is done again by the next process, which has two more. */
static void a_resumed_part_gets_a_new_file_that_counts_from_its_first_epoch(void **state)
{
    struct events events;
    for (int process = 0; process < 2; process++) {
        open_in("resumed", &events);
        for (int epoch = 1 + 2 * process; epoch <= 3 + process; epoch++)
            add(&events, "student", epoch, process == 1);
        events_release(&events);
    }
    open_in("resumed", &events);
    assert_ok(events_add_test(&events, "student", 4, 75)); /* drops nothing */
    events_release(&events);
    read_part("resumed", "student", &event_log);
    assert_int_equal(event_log.files, 3);
    assert_int_equal(event_log.starts, 2);
    assert_int_equal(event_log_count(&event_log, "loss/total"), 4);
    for (int epoch = 1; epoch <= 4; epoch++)
        event_log_value(&event_log, "loss/total", epoch);
    assert_int_equal(event_log_count(&event_log, "accuracy/val"), 2);
    event_log_value(&event_log, "accuracy/test", 4);
}

static void nothing_is_written_where_no_events_are_wanted(void **state)
{
    struct events events;
    assert_ok(events_open(support_path("none"), false, &events));
    add(&events, "student", 1, false);
    assert_ok(events_add_test(&events, "student", 1, 50));
    events_release(&events);
    assert_false(file_exists(support_path("none")));
}

static void files_that_cannot_be_written_are_told(void **state)
{
    struct events events;
    struct rlimit unlimited, small;
    assert_ok(file_write(support_path("a-file"), "x", 1));
    open_in("a-file", &events);
    assert_fails(events_add_test(&events, "student", 1, 50), RETORT_IO, "a-file");
    events_release(&events);
    open_in("full", &events);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
    small = (struct rlimit){60, unlimited.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const enum retort_status status = events_add_test(&events, "student", 1, 50);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
    assert_fails(status, RETORT_IO, "full/events/student/events.out.tfevents.");
    events_release(&events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_of_the_tests_is_the_known_one),
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(each_part_has_a_folder_of_its_own),
        cmocka_unit_test(a_resumed_part_gets_a_new_file_that_counts_from_its_first_epoch),
        cmocka_unit_test(nothing_is_written_where_no_events_are_wanted),
        cmocka_unit_test(files_that_cannot_be_written_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
