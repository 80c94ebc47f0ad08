/* list.c - retort list: the runs below a folder. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "progress.h"
#include "retort/report.h"
#include "text_json.h"

struct options {
    const char *folder;
    bool json;
};

enum { OPTION_JSON = 256 };

static const struct argp_option rows[] = {
    {"json", OPTION_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->folder)
            argp_error(state, "%s: one folder wanted", text);
        options->folder = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    rows,
    parse,
    "[DIR]",
    "Lists the runs in a folder and below it (runs): how far they are, their "
    "accuracy, and the time that training took.",
    NULL,
    NULL,
    NULL};

static const char *const states[] = {[RETORT_RUN_DONE] = "done",
                                     [RETORT_RUN_RUNNING] = "running",
                                     [RETORT_RUN_STOPPED] = "stopped",
                                     [RETORT_RUN_DAMAGED] = "damaged"};

/* ---- a table ---- */

static void print_percent(double value)
{
    if (value < 0)
        printf(" %8s", "-");
    else
        printf(" %8.2f", value);
}

static void print_entry(const struct retort_run_entry *entry)
{
    char state[64], time[32];
    if (entry->state == RETORT_RUN_DONE || entry->state == RETORT_RUN_DAMAGED)
        snprintf(state, sizeof(state), "%s", states[entry->state]);
    else if (entry->part[0])
        snprintf(state, sizeof(state), "%s, %s %d/%d", states[entry->state], entry->part,
                 entry->epoch, entry->epochs);
    else
        snprintf(state, sizeof(state), "%s, at its beginning", states[entry->state]);
    progress_time(entry->seconds, time, sizeof(time));
    printf("%-28s", state);
    print_percent(entry->teacher);
    print_percent(entry->baseline);
    print_percent(entry->student);
    if (entry->baseline >= 0 && entry->student >= 0)
        printf(" %+7.2f", entry->student - entry->baseline);
    else
        printf(" %7s", "-");
    printf(" %9s  %s\n", time, entry->folder);
}

static void print_table(const struct retort_run_list *list)
{
    printf("%-28s %8s %8s %8s %7s %9s  %s\n", "state", "teacher", "plain", "student", "gain",
           "time", "folder");
    for (int i = 0; i < list->count; i++)
        print_entry(&list->entries[i]);
    for (int i = 0; i < list->count; i++)
        if (list->entries[i].fault)
            fprintf(stderr, "damaged: %s\n", list->entries[i].fault);
}

/* ---- JSON ---- */

static json_t *known(double percent)
{
    return percent < 0 ? json_null() : json_real(percent);
}

static json_t *entry_object(const struct retort_run_entry *entry)
{
    json_t *object = json_pack(
        "{s:o, s:o, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:f}", "folder", text_json(entry->folder),
        "name", text_json(entry->name), "state", states[entry->state], "part", entry->part, "epoch",
        entry->epoch, "epochs", entry->epochs, "teacher", known(entry->teacher), "baseline",
        known(entry->baseline), "student", known(entry->student), "seconds", entry->seconds);
    if (entry->fault)
        json_object_set_new(object, "fault", text_json(entry->fault));
    return object;
}

static void print_json(const struct retort_run_list *list)
{
    json_t *runs = json_array();
    for (int i = 0; i < list->count; i++)
        json_array_append_new(runs, entry_object(&list->entries[i]));
    json_t *all = json_pack("{s:o}", "runs", runs);
    json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
}

static int run(int argc, char **argv)
{
    struct options options = {0};
    struct retort_run_list list;
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (retort_list_runs(options.folder ? options.folder : "runs", &list) != RETORT_OK)
        return report_failure();
    if (options.json)
        print_json(&list);
    else
        print_table(&list);
    retort_run_list_release(&list);
    return EXIT_OK;
}

const struct command command_list = {"list", "lists the runs below a folder", run};
