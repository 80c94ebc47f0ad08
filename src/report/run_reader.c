/* run_reader.c - recipe.yaml, run.json and metrics.jsonl.
 *
 * YAML is not parsed here: of the recipe only its text is shown, and two lines of the resolved one,
 * whose form is retort's own, are looked for. */
#include "report/run_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/lock.h"

enum { LARGEST_TEXT = 64 << 20 };

static char *path_in(const char *folder, const char *name)
{
    return file_join(folder, name);
}

static bool holds(const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    const bool there = path && file_exists(path);
    free(path);
    return there;
}

bool run_reader_finds(const char *folder)
{
    return holds(folder, "recipe.yaml");
}

json_t *run_reader_text(const char *text)
{
    json_t *made = json_string(text);
    char *copy = made ? NULL : strdup(text);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c >= 128)
            *c = '?';
    if (copy)
        made = json_string(copy);
    free(copy);
    return made;
}

/* The value behind the first "key: " that begins a line, or stands in braces, of the recipe. */
static json_t *recipe_value(const char *recipe, const char *key)
{
    const size_t length = strlen(key);
    for (const char *at = strstr(recipe, key); at; at = strstr(at + 1, key)) {
        const bool begins = at == recipe || strchr(" \n{", at[-1]);
        if (!begins || at[length] != ':' || at[length + 1] != ' ')
            continue;
        const char *value = at + length + 2;
        const bool quoted = *value == '"' || *value == '\'';
        const char end[] = {quoted ? *value++ : '\n', quoted ? '\0' : ',', '}', '\0'};
        char *text = strndup(value, strcspn(value, end));
        json_t *made = text ? run_reader_text(text) : NULL;
        free(text);
        return made;
    }
    return json_string("");
}

/* A text file of the folder; data NULL when it is not there. */
static enum retort_status read_text(const char *folder, const char *name, struct file_bytes *bytes)
{
    char *path = path_in(folder, name);
    enum retort_status status = path ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
    *bytes = (struct file_bytes){0};
    if (status == RETORT_OK && file_exists(path))
        status = file_read(path, LARGEST_TEXT, bytes);
    free(path);
    return status;
}

static enum retort_status read_recipe(const char *folder, json_t *run)
{
    struct file_bytes bytes;
    TRY(read_text(folder, "recipe.yaml", &bytes));
    const char *text = (const char *)bytes.data;
    if (!text)
        return fail(RETORT_IO, "%s: no recipe.yaml there: a run's folder wanted", folder);
    json_object_set_new(run, "recipe", run_reader_text(text));
    json_object_set_new(run, "name", recipe_value(text, "name"));
    json_object_set_new(run, "data", recipe_value(text, "set"));
    json_object_set_new(run, "peers", recipe_value(text, "peers"));
    free(bytes.data);
    return RETORT_OK;
}

static enum retort_status read_summary(const char *folder, json_t *run)
{
    struct file_bytes bytes;
    json_t *summary = NULL;
    TRY(read_text(folder, "run.json", &bytes));
    enum retort_status status = RETORT_OK;
    if (bytes.data)
        status = json_parse("run.json", (const char *)bytes.data, bytes.size, &summary);
    free(bytes.data);
    if (status == RETORT_OK && summary && !json_is_object(summary)) {
        json_decref(summary);
        status = fail(RETORT_FORMAT, "run.json is no object");
    }
    if (status != RETORT_OK)
        return fail_in(status, "%s", folder);
    const char *name = json_string_value(json_object_get(summary, "name"));
    if (name)
        json_object_set_new(run, "name", json_string(name));
    json_object_set_new(run, "summary", summary ? summary : json_object());
    return RETORT_OK;
}

/* Is it what the page takes a line for? */
static bool is_epoch(json_t *line)
{
    json_t *losses = json_object_get(line, "losses"), *loss;
    const char *name;
    if (!json_is_string(json_object_get(line, "part")) || (losses && !json_is_object(losses)))
        return false;
    json_object_foreach(losses, name, loss) if (!json_is_object(loss)) return false;
    return true;
}

static enum retort_status parse_epochs(const char *folder, char *text, json_t *epochs)
{
    int number = 0;
    for (char *line; (line = strsep(&text, "\n"));) {
        json_t *object = NULL;
        number++;
        if (!*line)
            continue;
        const enum retort_status status = json_parse("the line", line, strlen(line), &object);
        if (status != RETORT_OK)
            return fail_in(status, "%s: metrics.jsonl:%d", folder, number);
        if (!is_epoch(object)) {
            json_decref(object);
            return fail(RETORT_FORMAT,
                        "%s: metrics.jsonl:%d: an object with a part and losses wanted", folder,
                        number);
        }
        json_array_append_new(epochs, object);
    }
    return RETORT_OK;
}

static enum retort_status read_epochs(const char *folder, json_t *run)
{
    struct file_bytes bytes;
    json_t *epochs = json_array();
    json_object_set_new(run, "epochs", epochs);
    TRY(read_text(folder, "metrics.jsonl", &bytes));
    const enum retort_status status =
        bytes.data ? parse_epochs(folder, (char *)bytes.data, epochs) : RETORT_OK;
    free(bytes.data);
    return status;
}

/* Done: the summary is there, and no part is half done. */
static const char *state_of(const char *folder)
{
    char *path = path_in(folder, "lock");
    const bool held = path && lock_is_held(path);
    free(path);
    return held                                                                       ? "running"
           : holds(folder, "run.json") && !holds(folder, "state/current.safetensors") ? "done"
                                                                                      : "stopped";
}

enum retort_status run_reader_read(const char *folder, json_t **run)
{
    json_t *made = json_object();
    enum retort_status status = made ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK)
        status = read_recipe(folder, made);
    if (status == RETORT_OK)
        status = read_summary(folder, made);
    if (status == RETORT_OK)
        status = read_epochs(folder, made);
    if (status != RETORT_OK) {
        json_decref(made);
        return status;
    }
    json_object_set_new(made, "folder", run_reader_text(folder));
    json_object_set_new(made, "state", json_string(state_of(folder)));
    *run = made;
    return RETORT_OK;
}
