/* test_findings.c - what a page says that no file says. */
#include "support.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "report/findings.h"
#include "report/made_run.h"
#include "report/run_reader.h"

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static double value_at(const json_t *object, const char *key, const char *inner)
{
    return json_number_value(json_object_get(json_object_get(object, key), inner));
}

static json_t *read(const char *folder)
{
    json_t *run;
    assert_ok(run_reader_read(folder, &run));
    assert_ok(findings_of_run(run));
    return run;
}

static void classes_are_sorted_by_what_distillation_did_for_them(void **state)
{
    json_t *run = read(made_run("classes", "a", 1, 50, 52));
    const json_t *classes = json_object_get(run, "classes");
    assert_int_equal(json_array_size(classes), 2);
    const json_t *first = json_array_get(classes, 0), *last = json_array_get(classes, 1);
    assert_string_equal(json_string_value(json_object_get(first, "name")), HOSTILE);
    assert_true(near(json_number_value(json_object_get(first, "change")), 5));
    assert_string_equal(json_string_value(json_object_get(last, "name")), "cat");
    assert_true(near(json_number_value(json_object_get(last, "change")), 1));
    json_decref(run);
}

static void classes_without_images_are_left_out(void **state)
{
    const char *folder = made_run("no-images", "a", 1, 50, 52);
    made_run_write(folder, "run.json",
                   "{\"baseline\":{\"per_class\":[10,null,30]},"
                   "\"student\":{\"per_class\":[12,null,20]}}");
    json_t *run = read(folder);
    const json_t *classes = json_object_get(run, "classes");
    assert_int_equal(json_array_size(classes), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(classes, 1), "name")),
                        "class 2");
    json_decref(run);
}

static void shares_of_losses_sum_to_hundred(void **state)
{
    const char *folder = made_run("shares", "a", 1, 50, 52);
    made_run_write(folder, "metrics.jsonl",
                   "{\"part\":\"student\",\"epoch\":1,\"losses\":{\"ce\":{\"weighted\":3},"
                   "\"kl\":{\"weighted\":1}}}\n"
                   "{\"part\":\"student\",\"epoch\":2,\"losses\":{\"ce\":{\"weighted\":0}}}\n");
    json_t *run = read(folder);
    const json_t *epochs = json_object_get(run, "epochs");
    const json_t *losses = json_object_get(json_array_get(epochs, 0), "losses");
    assert_true(near(value_at(losses, "ce", "share"), 75));
    assert_true(near(value_at(losses, "kl", "share"), 25));
    losses = json_object_get(json_array_get(epochs, 1), "losses");
    assert_true(near(value_at(losses, "ce", "share"), 0));
    json_decref(run);
}

static void a_group_is_one_recipe_with_several_seeds(void **state)
{
    json_t *runs = json_array();
    json_array_append_new(runs, read(made_run("g1", "a", 1, 50, 52)));
    json_array_append_new(runs, read(made_run("g2", "a", 2, 52, 56)));
    json_array_append_new(runs, read(made_run("g3", "b", 3, 10, 11)));
    json_array_append_new(runs, read(made_run("g4", "a", 30, 54, 57)));
    json_t *data = json_pack("{s:o}", "runs", runs);
    assert_ok(findings_of_groups(data));
    const json_t *groups = json_object_get(data, "groups");
    assert_int_equal(json_array_size(groups), 2);
    const json_t *three = json_array_get(groups, 0), *one = json_array_get(groups, 1);
    assert_int_equal(json_array_size(json_object_get(three, "runs")), 3);
    assert_true(near(value_at(three, "plain", "mean"), 52));
    assert_true(near(value_at(three, "plain", "sd"), 2));
    assert_true(near(value_at(three, "gain", "mean"), 3));
    assert_true(near(value_at(three, "gain", "sd"), 1));
    assert_true(near(value_at(one, "student", "mean"), 11));
    assert_true(near(value_at(one, "student", "sd"), 0));
    json_decref(data);
}

static void several_teachers_count_as_their_mean(void **state)
{
    const char *folder = made_run("teachers", "a", 1, 50, 52);
    made_run_write(folder, "run.json",
                   "{\"teachers\":[{\"network\":\"a\",\"top1\":60},"
                   "{\"network\":\"b\",\"top1\":64},{}]}");
    json_t *run = read(folder);
    assert_int_equal(json_array_size(json_object_get(run, "models")), 2);
    json_t *data = json_pack("{s:[o]}", "runs", run);
    assert_ok(findings_of_groups(data));
    const json_t *group = json_array_get(json_object_get(data, "groups"), 0);
    assert_true(near(value_at(group, "teacher", "mean"), 62));
    assert_null(json_object_get(group, "student"));
    json_decref(data);
}

static void times_come_from_epochs_where_the_summary_has_none(void **state)
{
    const char *folder = made_run("times", "a", 1, 50, 52);
    made_run_write(folder, "metrics.jsonl",
                   "{\"part\":\"student\",\"epoch\":1,\"seconds\":1.5}\n"
                   "{\"part\":\"student\",\"epoch\":2,\"seconds\":2}\n");
    json_t *run = read(folder);
    const json_t *models = json_object_get(run, "models");
    assert_int_equal(json_array_size(models), 3);
    const json_t *plain = json_array_get(models, 1), *student = json_array_get(models, 2);
    assert_true(near(json_number_value(json_object_get(student, "training_seconds")), 3.5));
    assert_null(json_object_get(plain, "training_seconds"));
    json_decref(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_sorted_by_what_distillation_did_for_them),
        cmocka_unit_test(classes_without_images_are_left_out),
        cmocka_unit_test(shares_of_losses_sum_to_hundred),
        cmocka_unit_test(times_come_from_epochs_where_the_summary_has_none),
        cmocka_unit_test(several_teachers_count_as_their_mean),
        cmocka_unit_test(a_group_is_one_recipe_with_several_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
