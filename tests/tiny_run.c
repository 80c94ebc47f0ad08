/* tiny_run.c - a whole run, of seconds. */
#include "tiny_run.h"

#include "support.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "event_file.h"
#include "tiny.h"

static const char *const files[] = {"teacher-1.safetensors", "teacher-2.safetensors",
                                    "baseline.safetensors",  "student.safetensors",
                                    "recipe.yaml",           "exhibits.safetensors"};

const char *tiny_recipe(void)
{
    char text[1024];
    const char *path = support_path("recipe.yaml");
    snprintf(text, sizeof(text),
             "name: tiny\n"
             "threads: 1\n"
             "data: {set: fashion-mnist, path: %s, pad: 2}\n"
             "teacher: {network: \"resnet:depth=8,widths=16-16-16-24\", count: 2,\n"
             "          train: {epochs: %d, batch: %d}}\n"
             "student: {network: \"resnet:depth=8,widths=16-16-16-16\", train: {batch: %d}}\n"
             "distill:\n"
             "  ensemble: {rule: random-k, k: 1, gram_teacher: random}\n"
             "  stages:\n"
             "    - {epochs: 1, losses: {gram: {}}}\n"
             "    - {epochs: %d, losses: {ce: {}, kl: {}, gram: {ramp: linear}}}\n",
             tiny_folder(TRAIN_IMAGES, TEST_IMAGES), EPOCHS, BATCH, BATCH, EPOCHS - 1);
    assert_ok(file_write(path, text, strlen(text)));
    return path;
}

static int listen_until(void *context, const struct retort_progress *progress)
{
    struct tiny_stop *stop = context;
    assert_non_null(progress->part);
    stop->steps += progress->kind == RETORT_STEP;
    if (progress->kind == RETORT_STEP || progress->kind == RETORT_EPOCH) {
        assert_true(progress->run_share > 0 && progress->run_share <= 1);
        assert_true(progress->run_remaining >= 0 || progress->run_remaining == -1);
        stop->share = progress->run_share;
    }
    return ++stop->seen == stop->after;
}

enum retort_status tiny_run(const char *folder, unsigned parts, bool resume, struct tiny_stop *stop)
{
    struct retort_run_result result;
    const struct retort_run_options options = {.recipe = tiny_recipe(),
                                               .folder = folder,
                                               .parts = parts,
                                               .resume = resume,
                                               .listener = stop ? listen_until : NULL,
                                               .context = stop};
    TRY(retort_run(&options, &result));
    assert_string_equal(result.folder, folder);
    retort_run_release(&result);
    return RETORT_OK;
}

/* Gives the steps that were done. */
long tiny_assert_stopped(const char *folder, bool resume, int after)
{
    struct tiny_stop stop = {after, 0, 0};
    assert_fails(tiny_run(folder, 0, resume, &stop), RETORT_STOPPED, "stopped");
    assert_int_equal(stop.seen, after);
    return stop.steps;
}

/* Each epoch of each part once, in order. */
static void assert_metrics_are_whole(const char *folder)
{
    static const char *const parts[] = {"teacher-1", "teacher-2", "baseline", "student"};
    char *path = file_join(folder, "metrics.jsonl");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int part = 0; part < PARTS; part++)
        for (int epoch = 1; epoch <= EPOCHS; epoch++) {
            json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
            assert_non_null(line);
            assert_string_equal(json_string_value(json_object_get(line, "part")), parts[part]);
            assert_int_equal(json_integer_value(json_object_get(line, "epoch")), epoch);
            json_decref(line);
        }
    assert_int_equal(fgetc(file), '\n');
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    free(path);
}

/* The same for those who read the event files, with the accuracy on the test set at the end. */
static void assert_events_are_whole(const char *folder)
{
    static const char *const parts[] = {"teacher-1", "teacher-2", "baseline", "student"};
    static struct event_log log;
    char *events = file_join(folder, "events");
    for (int part = 0; part < PARTS; part++) {
        char *below = file_join(events, parts[part]);
        event_log_read(below, &log);
        for (int epoch = 1; epoch <= EPOCHS; epoch++)
            event_log_value(&log, "loss/total", epoch);
        assert_int_equal(event_log_count(&log, "loss/total"), EPOCHS);
        event_log_value(&log, "accuracy/test", EPOCHS);
        free(below);
    }
    free(events);
}

/* run.json without what depends on the day: how fast it was. */
static json_t *summary_of(const char *folder)
{
    char *path = file_join(folder, "run.json");
    json_t *summary = json_load_file(path, 0, NULL);
    assert_non_null(summary);
    json_t *teachers = json_object_get(summary, "teachers");
    json_t *const models[] = {json_array_get(teachers, 0), json_array_get(teachers, 1),
                              json_object_get(summary, "baseline"),
                              json_object_get(summary, "student")};
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        json_object_del(models[i], "images_per_second");
        json_object_del(models[i], "training_seconds");
    }
    free(path);
    return summary;
}

void tiny_assert_equal_runs(const char *a, const char *b)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *first = file_join(a, files[i]), *second = file_join(b, files[i]);
        tiny_assert_equal_files(first, second);
        free(first);
        free(second);
    }
    json_t *first = summary_of(a), *second = summary_of(b);
    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    assert_metrics_are_whole(b);
    assert_events_are_whole(b);
}

/* The run that nobody stopped, made once. */
const char *tiny_whole_run(void)
{
    static char folder[256];
    struct tiny_stop never = {0, 0, 0};
    if (folder[0])
        return folder;
    snprintf(folder, sizeof(folder), "%s", support_path("whole"));
    assert_ok(tiny_run(folder, 0, false, &never));
    assert_int_equal(never.seen, EVENTS);
    assert_true(never.share == 1);
    assert_metrics_are_whole(folder);
    return folder;
}

enum retort_status tiny_run_with(const char *folder, const char *override, bool resume)
{
    struct retort_run_result result;
    const struct retort_run_options options = {.recipe = tiny_recipe(),
                                               .overrides = &override,
                                               .override_count = 1,
                                               .folder = folder,
                                               .resume = resume};
    TRY(retort_run(&options, &result));
    retort_run_release(&result);
    return RETORT_OK;
}
