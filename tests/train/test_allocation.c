/* test_allocation.c - memory runs out somewhere in a run: it ends with a sentence, nothing is left
 * half-written, and resumed it ends like one that had memory. With sanitizers, leaks are found as
 * well. */
#include "failing.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "retort/report.h"
#include "retort/run.h"
#include "tiny.h"

static const char *write_recipe(void)
{
    char text[1024];
    const char *path = support_path("recipe.yaml");
    snprintf(text, sizeof(text),
             "name: tiny\n"
             "threads: 1\n"
             "data: {set: fashion-mnist, path: %s, pad: 2, val: 10}\n"
             "teacher: {network: \"resnet:depth=8,widths=16-16-16-24\",\n"
             "          train: {epochs: 1, batch: 10}}\n"
             "student: {network: \"resnet:depth=8,widths=16-16-16-16\",\n"
             "          train: {epochs: 2, batch: 10}}\n"
             "distill: {stages: [{losses: {ce: {}, kl: {}, gram: {}}}]}\n",
             tiny_folder(30, 10));
    assert_ok(file_write(path, text, strlen(text)));
    return path;
}

static enum retort_status run(const char *recipe, const char *folder, bool resume)
{
    struct retort_run_result result;
    const struct retort_run_options options = {
        .recipe = recipe, .folder = folder, .resume = resume, .save_minutes = 1e-9};
    TRY(retort_run(&options, &result));
    retort_run_release(&result);
    return RETORT_OK;
}

static void assert_equal_runs(const char *a, const char *b)
{
    static const char *const files[] = {"recipe.yaml", "teacher-1.safetensors",
                                        "baseline.safetensors", "student.safetensors",
                                        "exhibits.safetensors"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *first = file_join(a, files[i]), *second = file_join(b, files[i]);
        tiny_assert_equal_files(first, second);
        free(first);
        free(second);
    }
}

/* Every allocation at the beginning, then ever fewer; false: there are no more. */
static bool try_one(const char *recipe, const char *whole, long n, bool stays_out)
{
    char name[64], folder[256];
    snprintf(name, sizeof(name), "run-%ld-%d", n, stays_out);
    snprintf(folder, sizeof(folder), "%s", support_path(name));
    failing_begin(n, stays_out);
    const enum retort_status status = run(recipe, folder, false);
    const bool failed = failing_end();
    if (status != RETORT_OK && status != RETORT_MEMORY)
        fail_msg("allocation %ld failed, which gave status %d (%s)", n, status, retort_message());
    if (status == RETORT_MEMORY && !strstr(retort_message(), "memory"))
        fail_msg("allocation %ld failed: \"%s\"", n, retort_message());
    if (!failed)
        assert_ok(status);
    tiny_assert_nothing_half_written(folder);
    assert_ok(run(recipe, folder, true));
    assert_equal_runs(whole, folder);
    return failed;
}

static void a_run_out_of_memory_does_no_harm(void **state)
{
    char whole[256], recipe[256];
    snprintf(recipe, sizeof(recipe), "%s", write_recipe());
    long n = 0, tries = 0;
    snprintf(whole, sizeof(whole), "%s", support_path("whole"));
    assert_ok(run(recipe, whole, false));
    for (; try_one(recipe, whole, n, tries % 2); tries++)
        n += 1 + n / 12;
    assert_true(tries > 50);
    print_message("%ld of about %ld allocations\n", tries, n);
}

/* The page: it is made of what is there. */
static void a_report_out_of_memory_is_told(void **state)
{
    char whole[256], page[256];
    const char *folders[] = {whole};
    long n = 0;
    bool failed = true;
    snprintf(whole, sizeof(whole), "%s", support_path("whole"));
    snprintf(page, sizeof(page), "%s", support_path("page.html"));
    for (; failed; n += 1 + n / 20) {
        char *path = NULL;
        failing_begin(n, n % 2);
        const enum retort_status status = retort_report(folders, 1, page, &path);
        failed = failing_end();
        if (status != RETORT_OK && status != RETORT_MEMORY)
            fail_msg("allocation %ld failed, which gave status %d (%s)", n, status,
                     retort_message());
        if (!failed)
            assert_ok(status);
        free(path);
    }
    assert_true(n > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_out_of_memory_does_no_harm),
        cmocka_unit_test(a_report_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
