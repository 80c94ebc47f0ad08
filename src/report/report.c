/* report.c - retort/report.h: run folders become a page. */
#include "retort/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/findings.h"
#include "report/page.h"
#include "report/pictures.h"
#include "report/reference.h"
#include "report/run_reader.h"
#include "retort/version.h"

/* Charts of more runs than these can be told apart by nobody. */
enum { MOST_RUNS = 100 };

static enum retort_status add_run(json_t *runs, const char *folder)
{
    json_t *run = NULL;
    if (json_array_size(runs) == MOST_RUNS)
        return fail(RETORT_INVALID, "more than %d runs for one page", MOST_RUNS);
    TRY(run_reader_read(folder, &run));
    if (json_array_append_new(runs, run))
        return fail(RETORT_MEMORY, "out of memory for a page");
    TRY(pictures_read(folder, run));
    return findings_of_run(run);
}

/* A run's folder, or one that holds seed-1, seed-2 ... */
static enum retort_status add_folder(json_t *runs, const char *folder)
{
    if (run_reader_finds(folder))
        return add_run(runs, folder);
    enum retort_status status = RETORT_OK;
    int seed = 1;
    for (bool there = true; there && status == RETORT_OK; seed++) {
        char name[32];
        snprintf(name, sizeof(name), "seed-%d", seed);
        char *below = file_join(folder, name);
        if (!below)
            return fail(RETORT_MEMORY, "out of memory for a page");
        there = run_reader_finds(below);
        if (there)
            status = add_run(runs, below);
        free(below);
    }
    if (status == RETORT_OK && seed == 2)
        return fail(RETORT_IO, "%s: neither recipe.yaml nor seed-1 there: a run's folder wanted",
                    folder);
    return status;
}

static enum retort_status gather(const char *const *folders, int count, json_t *data)
{
    json_t *runs = json_array();
    json_object_set_new(data, "runs", runs);
    json_object_set_new(data, "retort", json_string(RETORT_VERSION));
    for (int i = 0; i < count; i++)
        TRY(add_folder(runs, folders[i]));
    TRY(findings_of_groups(data));
    return reference_add(data);
}

static char *title_of(const json_t *data)
{
    const json_t *runs = json_object_get(data, "runs");
    const char *name = json_string_value(json_object_get(json_array_get(runs, 0), "name"));
    const size_t more = json_array_size(runs) - 1;
    char *title = NULL;
    const int length = more ? asprintf(&title, "%s and %zu more", name ? name : "", more)
                            : asprintf(&title, "%s", name ? name : "");
    return length < 0 ? NULL : title;
}

static enum retort_status write_page(const char *path, const json_t *data)
{
    struct file_writer writer;
    char *title = title_of(data);
    enum retort_status status =
        title ? file_begin(path, &writer) : fail(RETORT_MEMORY, "out of memory for a page");
    if (status == RETORT_OK) {
        status = page_write(title, data, writer.stream);
        if (status == RETORT_OK)
            status = file_commit(&writer);
        else
            file_abandon(&writer);
    }
    free(title);
    return status;
}

enum retort_status retort_report(const char *const *folders, int count, const char *file,
                                 char **path)
{
    if (count < 1)
        return fail(RETORT_INVALID, "folders: %d found, at least 1 wanted", count);
    char *target = file ? strdup(file) : file_join(folders[0], "report.html");
    json_t *data = json_object();
    enum retort_status status =
        target && data ? gather(folders, count, data) : fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK)
        status = write_page(target, data);
    json_decref(data);
    if (status == RETORT_OK && path) {
        *path = target;
        target = NULL;
    }
    free(target);
    return status;
}
