/* run_parts.c - run a recipe, or a part of it, and print the comparison. */
#include "run_parts.h"

#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "dry_run.h"
#include "interrupt.h"
#include "progress.h"
#include "retort/repeat.h"
#include "retort/report.h"

enum { MOST_OVERRIDES = 256 };

struct options {
    struct retort_run_options run;
    const char *overrides[MOST_OVERRIDES];
    bool quiet, json, dry, no_report;
    int repeat; /* 0: one run with the recipe's seed */
};

enum {
    OPTION_OUT = 256,
    OPTION_SET,
    OPTION_RESUME,
    OPTION_DRY_RUN,
    OPTION_QUIET,
    OPTION_JSON,
    OPTION_FORCE,
    OPTION_REPEAT,
    OPTION_NO_REPORT,
    OPTION_SAVE_EVERY,
    OPTION_NO_EVENTS
};

static const struct argp_option rows[] = {
    {"out", OPTION_OUT, "DIR", 0, "folder of the run (runs/NAME)", 0},
    {"set", OPTION_SET, "KEY=VALUE", 0,
     "override the recipe, e.g. student.train.epochs=3; may be repeated", 0},
    {"resume", OPTION_RESUME, NULL, 0, "go on with what the folder holds", 0},
    {"repeat", OPTION_REPEAT, "N", 0,
     "run seeds 1 to N, each in a folder of its own, and print means and deviations", 0},
    {"save-every", OPTION_SAVE_EVERY, "MINUTES", 0,
     "save the state of training so often, besides at the ends of epochs (5)", 0},
    {"force", OPTION_FORCE, NULL, 0,
     "teach also with teachers that know nothing; resume also with another recipe or other data",
     0},
    {"dry-run", OPTION_DRY_RUN, NULL, 0,
     "check everything and tell what would be done, write nothing", 0},
    {"quiet", OPTION_QUIET, NULL, 0, "no progress on stderr", 0},
    {"no-report", OPTION_NO_REPORT, NULL, 0, "leave report.html out", 0},
    {"no-events", OPTION_NO_EVENTS, NULL, 0, "leave the event files for TensorBoard out", 0},
    {"json", OPTION_JSON, NULL, 0, "print run.json instead of the table; with --dry-run, the plan",
     0},
    {0},
};

static double option_minutes(struct argp_state *state, const char *text)
{
    char *end;
    const double minutes = strtod(text, &end);
    if (end == text || *end || !(minutes > 0 && minutes <= 1e6))
        argp_error(state, "--save-every: %s found, minutes from above 0 to 1000000 wanted", text);
    return minutes;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_OUT:
        options->run.folder = text;
        return 0;
    case OPTION_SET:
        if (options->run.override_count == MOST_OVERRIDES)
            argp_error(state, "--set: at most %d", MOST_OVERRIDES);
        options->overrides[options->run.override_count++] = text;
        return 0;
    case OPTION_RESUME:
        options->run.resume = true;
        return 0;
    case OPTION_REPEAT:
        options->repeat = option_number(state, "repeat", text, 1, 1000);
        return 0;
    case OPTION_SAVE_EVERY:
        options->run.save_minutes = option_minutes(state, text);
        return 0;
    case OPTION_FORCE:
        options->run.force = true;
        return 0;
    case OPTION_DRY_RUN:
        options->dry = true;
        return 0;
    case OPTION_QUIET:
        options->quiet = true;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case OPTION_NO_REPORT:
        options->no_report = true;
        return 0;
    case OPTION_NO_EVENTS:
        options->run.no_events = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->run.recipe)
            argp_error(state, "%s: one recipe wanted", text);
        options->run.recipe = text;
        return 0;
    case ARGP_KEY_END:
        if (!options->run.recipe)
            argp_error(state, "a recipe wanted");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the table ---- */

static const struct retort_model_result *find(const struct retort_run_result *result,
                                              const char *part)
{
    for (int i = 0; i < result->count; i++)
        if (strncmp(result->models[i].part, part, strlen(part)) == 0)
            return &result->models[i];
    return NULL;
}

static void print_row(const struct retort_model_result *m)
{
    const char *label = strcmp(m->part, "baseline") == 0  ? "plain student"
                        : strcmp(m->part, "student") == 0 ? "distilled student"
                                                          : m->part;
    printf("%-18s %8.2f %8.2f %12" PRId64 " %14" PRId64 " %10.1f %12.0f\n", label, m->top1, m->top5,
           m->parameters, m->macs, (double)m->file_bytes / 1024, m->images_per_second);
}

/* A student learns its teacher's mistakes, too: KD from one of these has cost three points. */
static void print_weak_teachers(const struct retort_run_result *result,
                                const struct retort_model_result *plain)
{
    for (int i = 0; i < result->count; i++) {
        const struct retort_model_result *m = &result->models[i];
        if (strncmp(m->part, "teacher", strlen("teacher")) == 0 && m->top1 < plain->top1)
            printf("note: %s is worse than the plain student (%.2f and %.2f %%): train it longer\n",
                   m->part, m->top1, plain->top1);
    }
}

static void print_table(const struct retort_run_result *result)
{
    const struct retort_model_result *teacher = find(result, "teacher"),
                                     *plain = find(result, "baseline"),
                                     *student = find(result, "student");
    printf("%-18s %8s %8s %12s %14s %10s %12s\n", "", "top-1 %", "top-5 %", "parameters", "MACs",
           "file KiB", "images/s");
    for (int i = 0; i < result->count; i++)
        print_row(&result->models[i]);
    if (plain)
        print_weak_teachers(result, plain);
    if (student && plain)
        printf("gain: %+.2f points of top-1 over the plain student\n", student->top1 - plain->top1);
    if (student && teacher)
        printf(
            "teacher/student: %.2fx parameters, %.2fx MACs, %.2fx file; student %.2fx images/s\n",
            (double)teacher->parameters / (double)student->parameters,
            (double)teacher->macs / (double)student->macs,
            (double)teacher->file_bytes / (double)student->file_bytes,
            student->images_per_second / teacher->images_per_second);
    printf("written: ");
    const size_t length = strlen(result->folder);
    for (int i = 0; i < result->count; i++)
        if (strncmp(result->models[i].path, result->folder, length) == 0 &&
            result->models[i].path[length] == '/') /* not one that was loaded from elsewhere */
            printf("%s  ", result->models[i].path);
    printf("%s/run.json  %s/metrics.jsonl  %s/recipe.yaml\n", result->folder, result->folder,
           result->folder);
}

static int print_file(const char *folder, const char *name)
{
    char path[4096], text[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        return EXIT_FAILED;
    }
    for (size_t got; (got = fread(text, 1, sizeof(text), file)) > 0;)
        fwrite(text, 1, got, stdout);
    putchar('\n');
    fclose(file);
    return EXIT_OK;
}

/* ---- several seeds ---- */

static void print_spread(const char *label, const struct retort_spread *spread)
{
    if (spread->count > 0)
        printf("%-18s %8.2f +- %.2f\n", label, spread->mean, spread->sd);
}

static void print_repeat(const struct retort_repeat_result *result)
{
    printf("%-18s %14s %18s %8s\n", "top-1 %", "plain student", "distilled student", "gain");
    for (int i = 0; i < result->count; i++) {
        const struct retort_model_result *plain = find(&result->runs[i], "baseline"),
                                         *student = find(&result->runs[i], "student");
        char label[32];
        snprintf(label, sizeof(label), "seed %d", i + 1);
        printf("%-18s", label);
        if (plain)
            printf(" %14.2f", plain->top1);
        else
            printf(" %14s", "-");
        if (student)
            printf(" %18.2f", student->top1);
        else
            printf(" %18s", "-");
        if (plain && student)
            printf(" %+8.2f", student->top1 - plain->top1);
        putchar('\n');
    }
    print_spread("plain student", &result->baseline);
    print_spread("distilled student", &result->student);
    print_spread("gain", &result->gain);
    printf("written: %s/repeat.json and the runs beside it\n", result->folder);
}

/* ---- the page ---- */

/* With --json nothing but JSON is printed. */
static int write_report(const struct options *options, const char *folder)
{
    char *path;
    if (options->no_report)
        return EXIT_OK;
    if (retort_report(&folder, 1, NULL, &path) != RETORT_OK)
        return report_failure();
    if (!options->json)
        printf("report: %s\n", path);
    free(path);
    return EXIT_OK;
}

/* ---- stopping ---- */

static int on_progress(void *context, const struct retort_progress *event)
{
    progress_listen(context, event);
    return interrupt_asked() != 0;
}

/* The run did not come to its end. */
static int report_end(enum retort_status status)
{
    const int code = report_failure();
    return status == RETORT_STOPPED && interrupt_asked() ? 128 + interrupt_asked() : code;
}

/* ---- all of it ---- */

static int repeat_run(const struct options *options)
{
    struct retort_repeat_result result;
    const enum retort_status status = retort_repeat(&options->run, options->repeat, &result);
    progress_end(options->run.context);
    if (status != RETORT_OK)
        return report_end(status);
    int code = EXIT_OK;
    if (options->json)
        code = print_file(result.folder, "repeat.json");
    else
        print_repeat(&result);
    if (code == EXIT_OK)
        code = write_report(options, result.folder);
    retort_repeat_release(&result);
    return code;
}

static int single_run(const struct options *options)
{
    struct retort_run_result result;
    const enum retort_status status = retort_run(&options->run, &result);
    progress_end(options->run.context);
    if (status != RETORT_OK)
        return report_end(status);
    int code = EXIT_OK;
    if (options->json)
        code = print_file(result.folder, "run.json");
    else
        print_table(&result);
    if (code == EXIT_OK)
        code = write_report(options, result.folder);
    retort_run_release(&result);
    return code;
}

int run_parts(int argc, char **argv, const char *doc, unsigned parts)
{
    const struct argp parser = {rows, parse, "RECIPE", doc, NULL, NULL, NULL};
    struct options options = {.run = {.parts = parts, .listener = on_progress}};
    struct progress progress;
    options.run.overrides = options.overrides;
    options.run.context = &progress;
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (options.dry)
        return dry_run(&options.run, options.repeat, options.json);
    progress_begin(&progress, options.quiet);
    interrupt_catch();
    return options.repeat ? repeat_run(&options) : single_run(&options);
}
