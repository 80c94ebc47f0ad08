/* run_folder.c - the folder of a run: its beginning and its summary. */
#include "train/run_folder.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nn/engine/onednn.h"
#include "retort/version.h"

enum { LARGEST_RECIPE = 1 << 20 };

char *run_file(const char *folder, const char *name, const char *suffix)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%s", name, suffix);
    return file_join(folder, full);
}

/* The first line in which two texts differ, 1 first; 0: equal. */
static int first_difference(const char *a, const char *b)
{
    int line = 1;
    for (; *a && *a == *b; a++, b++)
        line += *a == '\n';
    return *a == *b ? 0 : line;
}

static enum retort_status check_recipe(const char *path, const struct recipe *recipe)
{
    struct file_bytes there;
    char *text;
    TRY(file_read(path, LARGEST_RECIPE, &there));
    enum retort_status status = recipe_print(recipe, &text);
    if (status == RETORT_OK) {
        int line = first_difference((const char *)there.data, text);
        if (line)
            status = fail(RETORT_INVALID,
                          "%s:%d: the run was begun with another recipe; resume it with that one, "
                          "or choose another folder with --out",
                          path, line);
        free(text);
    }
    free(there.data);
    return status;
}

enum retort_status run_check_folder(const char *folder, const struct recipe *recipe, bool resume)
{
    char *path = run_file(folder, "recipe", ".yaml");
    if (!path)
        return fail(RETORT_MEMORY, "out of memory");
    enum retort_status status = RETORT_OK;
    if (file_exists(path))
        status = resume ? check_recipe(path, recipe)
                        : fail(RETORT_INVALID,
                               "%s: holds a run already; --resume goes on with it, --out names "
                               "another folder",
                               folder);
    else if (file_exists(folder) && !file_is_folder(folder))
        status = fail(RETORT_IO, "%s: is a file, a folder was wanted", folder);
    free(path);
    return status;
}

enum retort_status run_begin_folder(const char *folder, const struct recipe *recipe)
{
    char *path = run_file(folder, "recipe", ".yaml"), *text = NULL;
    enum retort_status status = path ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK && !file_exists(path)) {
        status = recipe_print(recipe, &text);
        if (status == RETORT_OK)
            status = file_make_folder(folder);
        if (status == RETORT_OK)
            status = file_write(path, text, strlen(text));
    }
    free(text);
    free(path);
    return status;
}

enum retort_status run_lock_folder(const char *folder, struct lock *lock)
{
    bool taken = false;
    char *path = file_join(folder, "lock");
    enum retort_status status =
        path ? lock_take(path, lock, &taken) : fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK && !taken)
        status = fail(RETORT_INVALID, "%s: another retort works there; --out names another folder",
                      folder);
    free(path);
    return status;
}

static json_t *model_object(const struct retort_model_result *model, const json_t *more)
{
    const char *name = strrchr(model->path, '/');
    json_t *object = json_pack(
        "{s:s, s:s, s:f, s:f, s:I, s:I, s:I, s:f}", "network", model->network, "file",
        name ? name + 1 : model->path, "top1", model->top1, "top5", model->top5, "parameters",
        (json_int_t)model->parameters, "macs", (json_int_t)model->macs, "bytes",
        (json_int_t)model->file_bytes, "images_per_second", model->images_per_second);
    if (object)
        json_object_update_missing(object, json_object_get(more, model->part));
    return object;
}

const struct retort_model_result *run_find_result(const struct retort_run_result *result,
                                                  const char *part)
{
    for (int i = 0; i < result->count; i++)
        if (strcmp(result->models[i].part, part) == 0)
            return &result->models[i];
    return NULL;
}

static json_t *teachers(const struct retort_run_result *result, const json_t *more)
{
    json_t *list = json_array();
    for (int i = 0; list && i < result->count; i++)
        if (strncmp(result->models[i].part, "teacher", 7) == 0)
            json_array_append_new(list, model_object(&result->models[i], more));
    return list;
}

enum retort_status run_write_summary(const char *folder, const struct recipe *recipe,
                                     const struct retort_run_result *result, const json_t *more)
{
    const struct retort_model_result *teacher = run_find_result(result, "teacher-1"),
                                     *baseline = run_find_result(result, "baseline"),
                                     *student = run_find_result(result, "student");
    json_t *summary = json_pack("{s:s, s:i, s:o, s:{s:s, s:s}}", "name", recipe->name, "seed",
                                recipe->seed, "teachers", teachers(result, more), "versions",
                                "retort", RETORT_VERSION, "onednn", dnn_version());
    if (baseline)
        json_object_set_new(summary, "baseline", model_object(baseline, more));
    if (student)
        json_object_set_new(summary, "student", model_object(student, more));
    if (student && baseline)
        json_object_set_new(summary, "gain", json_real(student->top1 - baseline->top1));
    if (student && teacher)
        json_object_set_new(summary, "ratio",
                            json_pack("{s:f, s:f}", "parameters",
                                      (double)teacher->parameters / (double)student->parameters,
                                      "macs", (double)teacher->macs / (double)student->macs));
    if (summary)
        json_object_update_missing(summary, json_object_get(more, "run"));
    char *text = summary ? json_dumps(summary, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    char *path = run_file(folder, "run", ".json");
    enum retort_status status = text && path ? file_write(path, text, strlen(text))
                                             : fail(RETORT_MEMORY, "out of memory for the summary");
    free(path);
    free(text);
    json_decref(summary);
    return status;
}
