/* report.c - retort report: runs as a page for people. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "retort/report.h"

enum { MOST_FOLDERS = 100 };

struct options {
    const char *folders[MOST_FOLDERS];
    int count;
    const char *file;
};

static const struct argp_option rows[] = {
    {"output", 'o', "FILE", 0, "where to write (report.html in the first folder)", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'o':
        options->file = text;
        return 0;
    case ARGP_KEY_ARG:
        if (options->count == MOST_FOLDERS)
            argp_error(state, "at most %d folders", MOST_FOLDERS);
        options->folders[options->count++] = text;
        return 0;
    case ARGP_KEY_END:
        if (!options->count)
            argp_error(state, "a run's folder wanted");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {rows,
                                   parse,
                                   "DIR...",
                                   "Makes one HTML page of one or more runs and prints its path. "
                                   "The page needs nothing else, not even a network.",
                                   NULL,
                                   NULL,
                                   NULL};

static int run(int argc, char **argv)
{
    struct options options = {0};
    char *path;
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (retort_report(options.folders, options.count, options.file, &path) != RETORT_OK)
        return report_failure();
    puts(path);
    free(path);
    return EXIT_OK;
}

const struct command command_report = {"report", "makes a page of one or more runs", run};
