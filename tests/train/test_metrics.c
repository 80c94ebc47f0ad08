/* test_metrics.c - one line per epoch and part, whole, and none twice after a resume. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/metrics.h"

/* The losses that take part. */
static const struct loss_weight some;
static const void *const losses[LOSS_COUNT] = {[LOSS_ce] = &some, [LOSS_kl] = &some};

static void add(struct metrics *metrics, const char *part, int epoch)
{
    const struct training_report report = {
        .epoch = epoch,
        .value = {.total = 2.25,
                  .raw = {[LOSS_ce] = 1.5, [LOSS_kl] = 0.75},
                  .weighted = {[LOSS_ce] = 0.75, [LOSS_kl] = 1.5}},
        .norms = {.logits = {[LOSS_ce] = 0.5, [LOSS_kl] = 0.25}, .taps = {[LOSS_kl] = 2}},
        .skipped = 1,
        .clipped = 2,
        .accuracy = 12.5,
        .rate = 0.1,
        .seconds = 4,
        .waited = 0.5,
        .images = 100,
        .val_top1 = -1};
    assert_ok(metrics_add_epoch(metrics, part, 0, 0, 3, losses, &report));
}

/* "part epoch, part epoch, ..." of the file in the temporary folder. */
static const char *lines(const char *folder)
{
    static char text[512];
    struct metrics metrics;
    text[0] = '\0';
    assert_ok(metrics_open(folder, true, &metrics));
    for (size_t i = 0; i < json_array_size(metrics.lines); i++) {
        const json_t *line = json_array_get(metrics.lines, i);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %lld", i ? ", " : "",
                 json_string_value(json_object_get(line, "part")),
                 (long long)json_integer_value(json_object_get(line, "epoch")));
    }
    metrics_release(&metrics);
    return text;
}

static const char *new_folder(const char *name)
{
    const char *folder = support_path(name);
    assert_ok(file_make_folder(folder));
    return folder;
}

/* The end of the text is the process's peak of memory: cut it off. */
static long long take_peak(char *text)
{
    char *key = strstr(text, ",\"peak_bytes\":"), *end;
    assert_non_null(key);
    const long long bytes = strtoll(strchr(key, ':') + 1, &end, 10);
    assert_string_equal(end, "}\n");
    *key = '\0';
    return bytes;
}

static void a_line_holds_what_an_epoch_was(void **state)
{
    const char *folder = new_folder("one");
    struct metrics metrics;
    struct file_bytes bytes;
    char *path = file_join(folder, "metrics.jsonl");
    assert_ok(metrics_open(folder, false, &metrics));
    add(&metrics, "teacher-1", 0);
    assert_ok(file_read(path, 1 << 16, &bytes));
    const long long peak = take_peak((char *)bytes.data);
    assert_true(peak > 1 << 20 && peak < 1LL << 40);
    assert_string_equal((const char *)bytes.data,
                        "{\"part\":\"teacher-1\",\"stage\":1,\"epoch\":1,\"epochs\":3,"
                        "\"loss\":2.25,"
                        "\"losses\":{\"ce\":{\"raw\":1.5,\"weighted\":0.75,"
                        "\"gradient_logits\":0.5,\"gradient_taps\":0.0},"
                        "\"kl\":{\"raw\":0.75,\"weighted\":1.5,"
                        "\"gradient_logits\":0.25,\"gradient_taps\":2.0}},"
                        "\"train_top1\":12.5,\"rate\":0.1,\"images_per_second\":25.0,"
                        "\"seconds\":4.0,\"waited\":0.5,\"waited_percent\":12.5,\"skipped\":1,"
                        "\"clipped\":2");
    free(bytes.data);
    free(path);
    metrics_release(&metrics);
}

static void a_resumed_run_drops_what_is_done_again(void **state)
{
    const char *folder = new_folder("two");
    struct metrics metrics;
    assert_ok(metrics_open(folder, false, &metrics));
    for (int epoch = 0; epoch < 3; epoch++)
        add(&metrics, "teacher-1", epoch);
    for (int epoch = 0; epoch < 2; epoch++)
        add(&metrics, "student", epoch);
    metrics_release(&metrics);
    assert_string_equal(lines(folder),
                        "teacher-1 1, teacher-1 2, teacher-1 3, student 1, student 2");
    assert_ok(metrics_open(folder, true, &metrics));
    metrics_drop(&metrics, "student", 2);
    add(&metrics, "student", 1);
    metrics_release(&metrics);
    assert_string_equal(lines(folder),
                        "teacher-1 1, teacher-1 2, teacher-1 3, student 1, student 2");
}

static void a_new_run_begins_anew(void **state)
{
    const char *folder = new_folder("three");
    struct metrics metrics;
    for (int i = 0; i < 2; i++) {
        assert_ok(metrics_open(folder, false, &metrics));
        add(&metrics, "student", 0);
        metrics_release(&metrics);
    }
    assert_string_equal(lines(folder), "student 1");
}

static void a_damaged_file_is_refused_by_line(void **state)
{
    static const char *const texts[] = {"{}\n{\"part\":", "{}\n[1]\n", "{}\n\1\n"};
    const char *folder = new_folder("four");
    char *path = file_join(folder, "metrics.jsonl");
    struct metrics metrics;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_ok(file_write(path, texts[i], strlen(texts[i])));
        assert_fails(metrics_open(folder, true, &metrics), RETORT_FORMAT, "metrics.jsonl:2: ");
    }
    free(path);
}

static void a_folder_that_is_gone_is_told(void **state)
{
    struct metrics metrics;
    const struct training_report report = {.seconds = 1};
    assert_ok(metrics_open(support_path("nowhere"), false, &metrics));
    assert_fails(metrics_add_epoch(&metrics, "student", 0, 0, 1, losses, &report), RETORT_IO,
                 "nowhere/metrics.jsonl");
    metrics_release(&metrics);
    metrics_release(&metrics); /* zeroed: does nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_holds_what_an_epoch_was),
        cmocka_unit_test(a_resumed_run_drops_what_is_done_again),
        cmocka_unit_test(a_new_run_begins_anew),
        cmocka_unit_test(a_damaged_file_is_refused_by_line),
        cmocka_unit_test(a_folder_that_is_gone_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
