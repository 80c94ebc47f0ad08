/* repeat.c - retort/repeat.h: run after run, and their mean. */
#include "retort/repeat.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "recipe/recipe.h"
#include "retort/plan.h"
#include "train/run_folder.h"

struct repeat {
    const struct retort_run_options *options;
    struct recipe recipe;
    char *folder;
    const char **overrides; /* the options', and one place for the seed */
    struct retort_repeat_result result;
};

static char *seed_folder(const struct repeat *repeat, int seed)
{
    char name[32];
    snprintf(name, sizeof(name), "seed-%d", seed);
    return file_join(repeat->folder, name);
}

/* ---- teachers that all runs share ---- */

static enum retort_status copy_file(const char *from, const char *to)
{
    enum { LARGEST = 1 << 30 };
    struct file_bytes bytes;
    TRY(file_read(from, LARGEST, &bytes));
    const enum retort_status status = file_write(to, bytes.data, bytes.size);
    free(bytes.data);
    return status;
}

/* With a seed of their own the first run's teachers are those that this one would train. */
static enum retort_status take_teachers(const struct repeat *repeat, const char *folder)
{
    const struct recipe_teacher *teacher = &repeat->recipe.teacher;
    char *first = seed_folder(repeat, 1);
    enum retort_status status = first ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK && teacher->seed && !teacher->weights.count && strcmp(first, folder))
        status = file_make_folder(folder);
    else
        teacher = NULL;
    for (int i = 0; teacher && i < teacher->count && status == RETORT_OK; i++) {
        char name[32];
        snprintf(name, sizeof(name), "teacher-%d", i + 1);
        char *from = run_file(first, name, ".safetensors"),
             *to = run_file(folder, name, ".safetensors");
        if (!from || !to)
            status = fail(RETORT_MEMORY, "out of memory");
        else if (file_exists(from) && !file_exists(to))
            status = copy_file(from, to);
        free(from);
        free(to);
    }
    free(first);
    return status;
}

/* ---- runs ---- */

/* A run that has not begun is begun, also when others go on. */
static bool has_begun(const char *folder)
{
    char *recipe = run_file(folder, "recipe", ".yaml");
    const bool begun = recipe && file_exists(recipe);
    free(recipe);
    return begun;
}

static enum retort_status check_overrides(const struct retort_run_options *options)
{
    for (int i = 0; i < options->override_count; i++)
        if (strncmp(options->overrides[i], "seed=", strlen("seed=")) == 0)
            return fail(RETORT_INVALID, "--set %s: found beside several seeds, which are 1, 2, ...",
                        options->overrides[i]);
    return RETORT_OK;
}

static enum retort_status run_seed(struct repeat *repeat, int seed)
{
    char text[32];
    char *folder = seed_folder(repeat, seed);
    struct retort_run_options options = *repeat->options;
    if (!folder)
        return fail(RETORT_MEMORY, "out of memory");
    snprintf(text, sizeof(text), "seed=%d", seed);
    repeat->overrides[options.override_count] = text;
    options.overrides = repeat->overrides;
    options.override_count++;
    options.folder = folder;
    options.resume = options.resume && has_begun(folder);
    enum retort_status status = take_teachers(repeat, folder);
    if (status == RETORT_OK)
        status = retort_run(&options, &repeat->result.runs[seed - 1]);
    if (status == RETORT_OK)
        repeat->result.count = seed;
    free(folder);
    return status;
}

/* ---- the summary ---- */

static struct retort_spread spread_of(const double *numbers, int count)
{
    struct retort_spread spread = {.count = count};
    for (int i = 0; i < count; i++)
        spread.mean += numbers[i] / count;
    for (int i = 0; i < count && count > 1; i++)
        spread.sd += pow(numbers[i] - spread.mean, 2) / (count - 1);
    spread.sd = sqrt(spread.sd);
    return spread;
}

static void summarise(struct retort_repeat_result *result)
{
    double baseline[result->count], student[result->count], gain[result->count];
    int baselines = 0, students = 0, gains = 0;
    for (int i = 0; i < result->count; i++) {
        const struct retort_model_result *b = run_find_result(&result->runs[i], "baseline"),
                                         *s = run_find_result(&result->runs[i], "student");
        if (b)
            baseline[baselines++] = b->top1;
        if (s)
            student[students++] = s->top1;
        if (b && s)
            gain[gains++] = s->top1 - b->top1;
    }
    result->baseline = spread_of(baseline, baselines);
    result->student = spread_of(student, students);
    result->gain = spread_of(gain, gains);
}

static void set_spread(json_t *object, const char *key, const struct retort_spread *spread)
{
    if (spread->count > 0)
        json_object_set_new(object, key,
                            json_pack("{s:f, s:f}", "mean", spread->mean, "sd", spread->sd));
}

static json_t *run_object(const struct retort_run_result *run, int seed)
{
    const struct retort_model_result *b = run_find_result(run, "baseline"),
                                     *s = run_find_result(run, "student");
    json_t *object = json_pack("{s:i}", "seed", seed);
    if (b)
        json_object_set_new(object, "baseline", json_real(b->top1));
    if (s)
        json_object_set_new(object, "student", json_real(s->top1));
    if (b && s)
        json_object_set_new(object, "gain", json_real(s->top1 - b->top1));
    return object;
}

static enum retort_status write_summary(const struct repeat *repeat)
{
    const struct retort_repeat_result *result = &repeat->result;
    json_t *summary =
        json_pack("{s:s, s:i, s:[]}", "name", repeat->recipe.name, "seeds", result->count, "runs");
    for (int i = 0; summary && i < result->count; i++)
        json_array_append_new(json_object_get(summary, "runs"),
                              run_object(&result->runs[i], i + 1));
    set_spread(summary, "baseline", &result->baseline);
    set_spread(summary, "student", &result->student);
    set_spread(summary, "gain", &result->gain);
    char *text = summary ? json_dumps(summary, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    char *path = run_file(repeat->folder, "repeat", ".json");
    const enum retort_status status =
        text && path ? file_write(path, text, strlen(text)) : fail(RETORT_MEMORY, "out of memory");
    free(path);
    free(text);
    json_decref(summary);
    return status;
}

/* ---- all of it ---- */

static enum retort_status begin(struct repeat *repeat, int seeds)
{
    const struct retort_run_options *options = repeat->options;
    const size_t count = (size_t)options->override_count;
    TRY(check_overrides(options));
    TRY(recipe_load(options->recipe, options->overrides, options->override_count, &repeat->recipe));
    repeat->folder =
        options->folder ? file_join(options->folder, "") : file_join("runs", repeat->recipe.name);
    if (!repeat->folder)
        return fail(RETORT_MEMORY, "out of memory");
    TRY(memory_zeroed(count + 1, sizeof(char *), (void **)&repeat->overrides));
    for (size_t i = 0; i < count; i++)
        repeat->overrides[i] = options->overrides[i];
    return memory_zeroed((size_t)seeds, sizeof(*repeat->result.runs),
                         (void **)&repeat->result.runs);
}

enum retort_status retort_repeat(const struct retort_run_options *options, int seeds,
                                 struct retort_repeat_result *result)
{
    struct repeat repeat = {.options = options};
    if (seeds < 1)
        return fail(RETORT_INVALID, "seeds: %d found, at least 1 wanted", seeds);
    enum retort_status status = begin(&repeat, seeds);
    for (int seed = 1; seed <= seeds && status == RETORT_OK; seed++)
        status = run_seed(&repeat, seed);
    if (status == RETORT_OK) {
        summarise(&repeat.result);
        status = write_summary(&repeat);
    }
    if (status == RETORT_OK) {
        *result = repeat.result;
        result->folder = repeat.folder;
        repeat.folder = NULL;
    } else {
        retort_repeat_release(&repeat.result);
    }
    recipe_release(&repeat.recipe);
    free(repeat.overrides);
    free(repeat.folder);
    return status;
}

enum retort_status retort_repeat_plan(const struct retort_run_options *options,
                                      struct retort_plan *plan)
{
    struct repeat repeat = {.options = options};
    struct retort_run_options first = *options;
    char *folder = NULL;
    enum retort_status status;
    TRY_DONE(begin(&repeat, 1));
    folder = seed_folder(&repeat, 1);
    if (!folder) {
        status = fail(RETORT_MEMORY, "out of memory");
        goto done;
    }
    repeat.overrides[options->override_count] = "seed=1";
    first.overrides = repeat.overrides;
    first.override_count++;
    first.folder = folder;
    first.resume = options->resume && has_begun(folder);
    TRY_DONE(retort_plan(&first, plan));
    free(plan->folder);
    plan->folder = repeat.folder;
    repeat.folder = NULL;
done:
    free(folder);
    retort_repeat_release(&repeat.result);
    recipe_release(&repeat.recipe);
    free(repeat.overrides);
    free(repeat.folder);
    return status;
}

void retort_repeat_release(struct retort_repeat_result *result)
{
    for (int i = 0; i < result->count; i++)
        retort_run_release(&result->runs[i]);
    free(result->runs);
    free(result->folder);
    *result = (struct retort_repeat_result){0};
}
