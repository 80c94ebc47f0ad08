/* test_page.c - a page holds what it should, and nothing from outside becomes HTML. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/page.h"
#include "report/made_run.h"
#include "retort/report.h"

static const char *written(void (*write)(const char *, FILE *), const char *text)
{
    static char buffer[512];
    FILE *stream = fmemopen(buffer, sizeof(buffer), "w");
    write(text, stream);
    fputc('\0', stream);
    fclose(stream);
    return buffer;
}

static int occurrences(const char *text, const char *what)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        count++;
    return count;
}

/* The page of these folders; the caller frees it. */
static char *page_of(const char *const *folders, int count)
{
    char *path;
    struct file_bytes bytes;
    assert_ok(retort_report(folders, count, NULL, &path));
    assert_ok(file_read(path, 64 << 20, &bytes));
    free(path);
    return (char *)bytes.data;
}

static void text_is_escaped_for_html(void **state)
{
    assert_string_equal(written(page_write_text, "<a b='c'>&\"x"),
                        "&lt;a b=&#39;c&#39;&gt;&amp;&quot;x");
}

static void json_cannot_end_the_script_that_it_stands_in(void **state)
{
    assert_string_equal(written(page_write_json, "\"</script><!--&\""),
                        "\"\\u003c/script\\u003e\\u003c!--\\u0026\"");
}

static void hostile_names_stay_texts(void **state)
{
    const char *folder = made_run("hostile", HOSTILE, 1, 50, 52);
    char *page = page_of(&folder, 1);
    assert_true(occurrences(page, "alert(1)") >= 4); /* title, name, recipe, class */
    assert_null(strstr(page, "<script>alert"));
    assert_null(strstr(page, "<img"));
    assert_int_equal(occurrences(page, "</script>"), occurrences(page, "<script"));
    free(page);
}

static void a_page_is_whole_and_loads_nothing(void **state)
{
    const char *folder = made_run("whole", "whole", 1, 50, 52);
    char *page = page_of(&folder, 1);
    assert_null(strstr(page, "{{"));
    assert_non_null(strstr(page, "<title>whole - retort</title>"));
    assert_non_null(strstr(page, "Chart.js v"));
    assert_non_null(strstr(page, "MIT License"));
    assert_non_null(strstr(page, "default-src 'none'"));
    assert_null(strstr(page, "<script src"));
    assert_null(strstr(page, "<img"));
    assert_null(strstr(page, "<link"));
    assert_null(strstr(page, "@import"));
    assert_non_null(strstr(page, "</html>"));
    free(page);
}

static void runs_stand_side_by_side(void **state)
{
    char *both[] = {strdup(made_run("many/seed-1", "many", 1, 50, 52)),
                    strdup(made_run("many/seed-2", "many", 2, 51, 54))};
    const char *above = support_path("many");
    char *page = page_of((const char *const *)both, 2), *same = page_of(&above, 1);
    assert_non_null(strstr(page, "\"mean\":53."));
    assert_string_equal(strstr(page, "\"runs\""), strstr(same, "\"runs\""));
    free(page);
    free(same);
    free(both[0]);
    free(both[1]);
}

static void folders_that_are_no_runs_are_refused(void **state)
{
    const char *folder = support_path("nothing");
    assert_ok(file_make_folder(folder));
    assert_fails(retort_report(&folder, 1, NULL, NULL), RETORT_IO, "a run's folder wanted");
    assert_fails(retort_report(&folder, 0, NULL, NULL), RETORT_INVALID, "at least 1 wanted");
}

static void damaged_files_are_named(void **state)
{
    const char *folder = made_run("damaged", "damaged", 1, 50, 52);
    made_run_write(folder, "run.json", "{\"name\":");
    assert_fails(retort_report(&folder, 1, NULL, NULL), RETORT_FORMAT, "run.json");
    made_run_write(folder, "run.json", "[]");
    assert_fails(retort_report(&folder, 1, NULL, NULL), RETORT_FORMAT, "run.json");
    made_run_write(folder, "run.json", "{}");
    made_run_write(folder, "metrics.jsonl", "{\"part\":\"student\"}\n{}\n");
    assert_fails(retort_report(&folder, 1, NULL, NULL), RETORT_FORMAT, "metrics.jsonl:2");
    made_run_write(folder, "metrics.jsonl", "{\"part\":\"student\"}\n\n{\"part\":\"stu");
    assert_fails(retort_report(&folder, 1, NULL, NULL), RETORT_FORMAT, "metrics.jsonl:3");
    made_run_write(folder, "metrics.jsonl", "{\"part\":\"student\",\"losses\":{\"ce\":3}}");
    assert_fails(retort_report(&folder, 1, NULL, NULL), RETORT_FORMAT, "metrics.jsonl:1");
    made_run_write(folder, "metrics.jsonl", "");
    made_run_write(folder, "exhibits.safetensors", "not one");
    assert_fails(retort_report(&folder, 1, NULL, NULL), RETORT_FORMAT, "exhibits.safetensors");
    char *page = file_join(folder, "report.html");
    assert_false(file_exists(page));
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_escaped_for_html),
        cmocka_unit_test(json_cannot_end_the_script_that_it_stands_in),
        cmocka_unit_test(hostile_names_stay_texts),
        cmocka_unit_test(a_page_is_whole_and_loads_nothing),
        cmocka_unit_test(runs_stand_side_by_side),
        cmocka_unit_test(folders_that_are_no_runs_are_refused),
        cmocka_unit_test(damaged_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
