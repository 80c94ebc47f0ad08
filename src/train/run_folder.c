/* run_folder.c - the folder of a run: its beginning, what it may go on with, and its summary. */
#include "train/run_folder.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/fingerprint.h"
#include "nn/engine/onednn.h"
#include "retort/version.h"

enum { LARGEST_RECIPE = 1 << 20 };
#define DATA_FILE "state/data.json"

char *run_file(const char *folder, const char *name, const char *suffix)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%s", name, suffix);
    return file_join(folder, full);
}

/* ---- the recipe ---- */

/* Text with room for so many differences; the rest is counted. */
enum { MOST_DIFFERENCES = 5 };
struct differences {
    int count;
    char text[1024];
};

static void add_difference(struct differences *differences, const char *name, const json_t *there,
                           const json_t *here)
{
    char *old = there ? json_dumps(there, JSON_ENCODE_ANY | JSON_COMPACT) : NULL,
         *new = here ? json_dumps(here, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    const size_t used = strlen(differences->text);
    if (differences->count++ < MOST_DIFFERENCES)
        snprintf(differences->text + used, sizeof(differences->text) - used,
                 "%s%s: %.60s there, %.60s here", used ? "; " : "", name, old ? old : "nothing",
                 new ? new : "nothing");
    free(old);
    free(new);
}

/* The two are the same settings, group by group; name: of the group, room for 256 bytes. */
static void compare(struct differences *differences, char *name, const json_t *there,
                    const json_t *here)
{
    const size_t used = strlen(name);
    const char *key;
    json_t *value;
    if (json_is_object(there) && json_is_object(here)) {
        json_t *all = json_copy((json_t *)here); /* its keys, and those of the other */
        json_object_update_missing(all, (json_t *)there);
        json_object_foreach(all, key, value)
        {
            snprintf(name + used, 256 - used, "%s%s", used ? "." : "", key);
            compare(differences, name, json_object_get(there, key), json_object_get(here, key));
            name[used] = '\0';
        }
        json_decref(all);
    } else if (json_is_array(there) && json_is_array(here) &&
               json_array_size(there) == json_array_size(here) &&
               json_is_object(json_array_get(here, 0))) {
        for (size_t i = 0; i < json_array_size(here); i++) {
            snprintf(name + used, 256 - used, ".%zu", i);
            compare(differences, name, json_array_get(there, i), json_array_get(here, i));
            name[used] = '\0';
        }
    } else if (!json_equal(there, here)) {
        add_difference(differences, name, there, here);
    }
}

/* The recipe that the folder's run was begun with, differences to this one in words. A setting that
 * is new since then has its default there. */
static enum retort_status compare_recipe(const char *path, const struct recipe *recipe,
                                         struct differences *differences)
{
    struct recipe begun;
    char name[256] = "";
    TRY(recipe_load(path, NULL, 0, &begun));
    json_t *there = settings_json(&recipe_settings, &begun),
           *here = settings_json(&recipe_settings, recipe);
    if (there && here)
        compare(differences, name, there, here);
    const bool made = there && here;
    json_decref(there);
    json_decref(here);
    recipe_release(&begun);
    return made ? RETORT_OK : fail(RETORT_MEMORY, "%s: out of memory", path);
}

/* ---- the images ---- */

static json_t *describe_data(const struct dataset *dataset)
{
    char print[17];
    snprintf(print, sizeof(print), "%016" PRIx64, fingerprint_dataset(dataset));
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:s}", "set", dataset->name, "classes",
                     dataset->classes, "train", dataset->train.count, "val", dataset->val.count,
                     "test", dataset->test.count, "fingerprint", print);
}

static enum retort_status compare_data(const char *path, const struct dataset *dataset,
                                       struct differences *differences)
{
    char name[256] = "data";
    json_error_t error;
    json_t *there = json_load_file(path, 0, &error), *here = describe_data(dataset);
    enum retort_status status = RETORT_OK;
    if (!there)
        status = fail(RETORT_FORMAT, "%s: %s; without the file the data is taken as it is", path,
                      error.text);
    else if (!here)
        status = fail(RETORT_MEMORY, "%s: out of memory", path);
    else
        compare(differences, name, there, here);
    json_decref(there);
    json_decref(here);
    return status;
}

/* ---- the folder ---- */

static enum retort_status compare_run(const char *recipe_path, const char *data_path,
                                      const char *folder, const struct recipe *recipe,
                                      const struct dataset *dataset)
{
    struct differences differences = {0};
    TRY(compare_recipe(recipe_path, recipe, &differences));
    const int settings = differences.count;
    if (file_exists(data_path))
        TRY(compare_data(data_path, dataset, &differences));
    if (differences.count == 0)
        return RETORT_OK;
    return fail(RETORT_INVALID,
                "%s: the run was begun with %s: %s%s; --force goes on all the same, --out names "
                "another folder",
                folder,
                settings == 0                   ? "other data"
                : settings == differences.count ? "another recipe"
                                                : "another recipe and other data",
                differences.text, differences.count > MOST_DIFFERENCES ? "; and more" : "");
}

enum retort_status run_check_folder(const char *folder, const struct recipe *recipe,
                                    const struct dataset *dataset, bool resume)
{
    char *path = run_file(folder, "recipe", ".yaml"), *data = file_join(folder, DATA_FILE);
    enum retort_status status = RETORT_OK;
    if (!path || !data)
        status = fail(RETORT_MEMORY, "out of memory");
    else if (file_exists(path))
        status = resume ? compare_run(path, data, folder, recipe, dataset)
                        : fail(RETORT_INVALID,
                               "%s: holds a run already; --resume goes on with it, --out names "
                               "another folder",
                               folder);
    else if (file_exists(folder) && !file_is_folder(folder))
        status = fail(RETORT_IO, "%s: is a file, a folder was wanted", folder);
    free(path);
    free(data);
    return status;
}

enum retort_status run_make_folder(const char *folder)
{
    char *below = file_join(folder, "state");
    const enum retort_status status =
        below ? file_make_folder(below) : fail(RETORT_MEMORY, "out of memory");
    free(below);
    return status;
}

/* recipe.yaml, when it is another one, under the first free name. */
static enum retort_status set_aside(const char *folder, const char *path)
{
    for (int i = 1; i <= 1000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "recipe.%d", i);
        char *to = run_file(folder, name, ".yaml");
        if (!to)
            return fail(RETORT_MEMORY, "out of memory");
        const bool there = file_exists(to);
        const enum retort_status status = there ? RETORT_OK : file_rename(path, to);
        free(to);
        if (!there)
            return status;
    }
    return fail(RETORT_INVALID, "%s: a thousand earlier recipes", folder);
}

static enum retort_status write_recipe(const char *folder, const char *path,
                                       const struct recipe *recipe)
{
    struct file_bytes there;
    char *text;
    TRY(recipe_print(recipe, &text));
    enum retort_status status = RETORT_OK;
    bool same = false;
    if (file_exists(path)) {
        status = file_read(path, LARGEST_RECIPE, &there);
        if (status == RETORT_OK) {
            same = strcmp((const char *)there.data, text) == 0;
            free(there.data);
        }
        if (status == RETORT_OK && !same)
            status = set_aside(folder, path);
    }
    if (status == RETORT_OK && !same)
        status = file_write(path, text, strlen(text));
    free(text);
    return status;
}

static enum retort_status write_data(const char *path, const struct dataset *dataset)
{
    json_t *data = describe_data(dataset);
    char *text = data ? json_dumps(data, JSON_INDENT(2)) : NULL;
    json_decref(data);
    const enum retort_status status =
        text ? file_write(path, text, strlen(text)) : fail(RETORT_MEMORY, "out of memory");
    free(text);
    return status;
}

enum retort_status run_begin_folder(const char *folder, const struct recipe *recipe,
                                    const struct dataset *dataset)
{
    char *path = run_file(folder, "recipe", ".yaml"), *data = file_join(folder, DATA_FILE),
         *below = file_join(folder, "state");
    enum retort_status status =
        path && data && below ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK)
        status = file_sweep(folder);
    if (status == RETORT_OK)
        status = file_sweep(below);
    if (status == RETORT_OK)
        status = write_recipe(folder, path, recipe);
    if (status == RETORT_OK)
        status = write_data(data, dataset);
    free(below);
    free(data);
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

/* Of the parts that are numbered: "teacher-1", "teacher-2" ... */
static json_t *model_list(const struct retort_run_result *result, const char *kind,
                          const json_t *more)
{
    json_t *list = json_array();
    for (int i = 0; list && i < result->count; i++)
        if (strncmp(result->models[i].part, kind, strlen(kind)) == 0)
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
                                recipe->seed, "teachers", model_list(result, "teacher-", more),
                                "versions", "retort", RETORT_VERSION, "onednn", dnn_version());
    if (baseline)
        json_object_set_new(summary, "baseline", model_object(baseline, more));
    if (recipe->distill.generations > 1)
        json_object_set_new(summary, "generations", model_list(result, "generation-", more));
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
