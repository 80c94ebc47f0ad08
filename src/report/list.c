/* list.c - retort/report.h: which runs there are below a folder.
 *
 * A run's folder is not looked into any further. Links to folders are not followed, so that the
 * search ends. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "report/findings.h"
#include "report/run_reader.h"
#include "retort/report.h"

enum { DEEPEST = 16 };

/* ---- one run ---- */

static double top1(const json_t *model)
{
    const json_t *found = json_object_get(model, "top1");
    return json_is_number(found) ? json_number_value(found) : -1;
}

static enum retort_run_state state_of(const json_t *run)
{
    const char *state = json_string_value(json_object_get(run, "state"));
    return strcmp(state, "done") == 0      ? RETORT_RUN_DONE
           : strcmp(state, "running") == 0 ? RETORT_RUN_RUNNING
                                           : RETORT_RUN_STOPPED;
}

/* The last line of metrics.jsonl says where the run is; all of them how long it took. */
static void read_epochs(const json_t *epochs, struct retort_run_entry *entry)
{
    size_t i;
    const json_t *line;
    json_array_foreach(epochs, i, line)
    {
        const char *part = json_string_value(json_object_get(line, "part"));
        snprintf(entry->part, sizeof(entry->part), "%s", part);
        entry->epoch = (int)json_integer_value(json_object_get(line, "epoch"));
        entry->epochs = (int)json_integer_value(json_object_get(line, "epochs"));
        entry->seconds += json_number_value(json_object_get(line, "seconds"));
    }
}

/* One run whose files cannot be read does not hide the others. */
static enum retort_status make_damaged(const char *folder, struct retort_run_entry *entry)
{
    *entry = (struct retort_run_entry){.folder = strdup(folder),
                                       .name = strdup(""),
                                       .fault = strdup(retort_message()),
                                       .state = RETORT_RUN_DAMAGED,
                                       .teacher = -1,
                                       .baseline = -1,
                                       .student = -1};
    return entry->folder && entry->name && entry->fault
               ? RETORT_OK
               : fail(RETORT_MEMORY, "out of memory for runs");
}

static enum retort_status read_entry(const char *folder, struct retort_run_entry *entry)
{
    json_t *run;
    const enum retort_status status = run_reader_read(folder, &run);
    if (status == RETORT_FORMAT || status == RETORT_IO)
        return make_damaged(folder, entry);
    TRY(status);
    const json_t *summary = json_object_get(run, "summary");
    const char *name = json_string_value(json_object_get(run, "name"));
    const double teachers = findings_teachers_top1(summary);
    *entry = (struct retort_run_entry){.folder = strdup(folder),
                                       .name = strdup(name ? name : ""),
                                       .state = state_of(run),
                                       .teacher = isnan(teachers) ? -1 : teachers,
                                       .baseline = top1(json_object_get(summary, "baseline")),
                                       .student = top1(json_object_get(summary, "student"))};
    read_epochs(json_object_get(run, "epochs"), entry);
    json_decref(run);
    return entry->folder && entry->name ? RETORT_OK : fail(RETORT_MEMORY, "out of memory for runs");
}

static enum retort_status add_entry(const char *folder, struct retort_run_list *list)
{
    struct retort_run_entry *grown =
        realloc(list->entries, (size_t)(list->count + 1) * sizeof(*grown));
    if (!grown)
        return fail(RETORT_MEMORY, "out of memory for runs");
    list->entries = grown;
    grown[list->count] = (struct retort_run_entry){0};
    return read_entry(folder, &grown[list->count++]);
}

/* ---- all of them ---- */

static bool is_real_folder(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static enum retort_status search(const char *folder, int depth, struct retort_run_list *list);

static enum retort_status search_below(DIR *below, const char *folder, int depth,
                                       struct retort_run_list *list)
{
    enum retort_status status = RETORT_OK;
    for (const struct dirent *entry; status == RETORT_OK && (entry = readdir(below));) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = file_join(folder, entry->d_name);
        if (!path)
            return fail(RETORT_MEMORY, "out of memory for runs");
        if (is_real_folder(path))
            status = search(path, depth + 1, list);
        free(path);
    }
    return status;
}

/* A folder that cannot be read has no runs that could be listed. */
static enum retort_status search(const char *folder, int depth, struct retort_run_list *list)
{
    if (run_reader_finds(folder))
        return add_entry(folder, list);
    DIR *below = depth < DEEPEST ? opendir(folder) : NULL;
    if (!below)
        return RETORT_OK;
    const enum retort_status status = search_below(below, folder, depth, list);
    closedir(below);
    return status;
}

/* seed-2 before seed-10. */
static int by_folder(const void *a, const void *b)
{
    return strverscmp(((const struct retort_run_entry *)a)->folder,
                      ((const struct retort_run_entry *)b)->folder);
}

enum retort_status retort_list_runs(const char *folder, struct retort_run_list *list)
{
    struct retort_run_list found = {0};
    if (!file_is_folder(folder))
        return fail(RETORT_IO, "%s: no folder there", folder);
    const enum retort_status status = search(folder, 0, &found);
    if (status != RETORT_OK) {
        retort_run_list_release(&found);
        return status;
    }
    if (found.count > 1)
        qsort(found.entries, (size_t)found.count, sizeof(*found.entries), by_folder);
    *list = found;
    return RETORT_OK;
}

void retort_run_list_release(struct retort_run_list *list)
{
    for (int i = 0; i < list->count; i++) {
        free(list->entries[i].folder);
        free(list->entries[i].name);
        free(list->entries[i].fault);
    }
    free(list->entries);
    *list = (struct retort_run_list){0};
}
