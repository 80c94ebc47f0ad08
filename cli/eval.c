/* eval.c - retort eval: a model file on a data set's test images. */
#include <argp.h>
#include <stdio.h>

#include "command.h"
#include "retort/evaluate.h"

struct options {
    const char *model, *data;
    int batch, threads;
    bool json;
};

enum { OPTION_DATA = 256, OPTION_BATCH, OPTION_THREADS, OPTION_JSON };

static const struct argp_option rows[] = {
    {"data", OPTION_DATA, "SPEC", 0, "NAME[:PATH], e.g. fashion-mnist or cifar100:DIR", 0},
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
    case OPTION_BATCH:
        options->batch = option_number(state, "batch", text, 1, 65536);
        return 0;
    case OPTION_THREADS:
        options->threads = option_number(state, "threads", text, 1, 4096);
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
    struct options options = {.batch = 128};
    struct retort_evaluation found;
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (retort_evaluate(options.model, options.data, options.batch, options.threads, &found) !=
        RETORT_OK)
        return report_failure();
    if (options.json)
        printf("{\"top1\":%.4f,\"top5\":%.4f,\"images\":%ld,\"images_per_second\":%.1f}\n",
               found.top1, found.top5, found.images, found.images_per_second);
    else
        printf("top-1 %.2f %%, top-5 %.2f %%, %ld images, %.0f images/s\n", found.top1, found.top5,
               found.images, found.images_per_second);
    return EXIT_OK;
}

const struct command command_eval = {"eval", "evaluates a model file on a data set", run};
