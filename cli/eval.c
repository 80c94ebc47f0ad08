/* eval.c - retort eval: a model file on a data set's test images. */
#include <argp.h>
#include <stdio.h>

#include "command.h"
#include "retort/evaluate.h"

struct options {
    const char *model, *data;
    struct retort_evaluation_options evaluation;
    bool json;
};

enum {
    OPTION_DATA = 256,
    OPTION_SIZE,
    OPTION_HELD_OUT,
    OPTION_SKIP_BAD,
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_JSON
};

static const struct argp_option rows[] = {
    {"data", OPTION_DATA, "SPEC", 0, "NAME[:PATH], e.g. fashion-mnist or cifar100:DIR", 0},
    {"size", OPTION_SIZE, "N", 0, "height and width of images, for sets of images of any size (64)",
     0},
    {"held-out", OPTION_HELD_OUT, "SHARE", 0,
     "share of each class that is the test set, for a folder without val and test (0.1)", 0},
    {"skip-bad", OPTION_SKIP_BAD, NULL, 0, "leave out, and count, records that cannot be used", 0},
    {"batch", OPTION_BATCH, "N", 0, "images a pass (128)", 0},
    {"threads", OPTION_THREADS, "N", 0, "default: one per core", 0},
    {"json", OPTION_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_DATA:
        options->data = text;
        return 0;
    case OPTION_SIZE:
        options->evaluation.data.size = option_number(state, "size", text, 1, 1024);
        return 0;
    case OPTION_HELD_OUT:
        options->evaluation.data.held_out = option_share(state, "held-out", text, 0.9);
        return 0;
    case OPTION_SKIP_BAD:
        options->evaluation.data.skip_bad = true;
        return 0;
    case OPTION_BATCH:
        options->evaluation.batch = option_number(state, "batch", text, 1, 65536);
        return 0;
    case OPTION_THREADS:
        options->evaluation.threads = option_number(state, "threads", text, 1, 4096);
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->model)
            argp_error(state, "%s: one model wanted", text);
        options->model = text;
        return 0;
    case ARGP_KEY_END:
        if (!options->model || !options->data)
            argp_error(state, "a model file and --data wanted");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    rows, parse, "MODEL", "Evaluates a model file on the test images of a data set.",
    NULL, NULL,  NULL};

static int run(int argc, char **argv)
{
    struct options options = {.evaluation = {.batch = 128}};
    struct retort_evaluation found;
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (retort_evaluate(options.model, options.data, &options.evaluation, &found) != RETORT_OK)
        return report_failure();
    if (found.skipped > 0)
        fprintf(stderr, "%d record%s of %s left out\n", found.skipped,
                found.skipped == 1 ? "" : "s", options.data);
    if (options.json)
        printf("{\"top1\":%.4f,\"top5\":%.4f,\"images\":%ld,\"images_per_second\":%.1f}\n",
               found.top1, found.top5, found.images, found.images_per_second);
    else
        printf("top-1 %.2f %%, top-5 %.2f %%, %ld images, %.0f images/s\n", found.top1, found.top5,
               found.images, found.images_per_second);
    return EXIT_OK;
}

const struct command command_eval = {"eval", "evaluates a model file on a data set", run};
