/* inspect.c - retort inspect: layers, taps and cost of networks; for two, the ratios. */
#include <argp.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "command.h"
#include "retort/network.h"

enum { MOST_NETWORKS = 64 };

struct options {
    const char *what[MOST_NETWORKS];
    int count, classes, input[3];
    bool json;
};

enum { OPTION_CLASSES = 256, OPTION_INPUT, OPTION_JSON };

static const struct argp_option rows[] = {
    {"classes", OPTION_CLASSES, "N", 0, "classes of a specification that names none (10)", 0},
    {"input", OPTION_INPUT, "CxHxW", 0, "input of a specification that names none (3x32x32)", 0},
    {"json", OPTION_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    char rest;
    switch (key) {
    case OPTION_CLASSES:
        options->classes = option_number(state, "classes", text, 1, 65536);
        return 0;
    case OPTION_INPUT:
        if (sscanf(text, "%dx%dx%d%c", &options->input[0], &options->input[1], &options->input[2],
                   &rest) != 3)
            argp_error(state, "--input: %s found, channels x height x width wanted, e.g. 3x32x32",
                       text);
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->count == MOST_NETWORKS)
            argp_error(state, "at most %d networks", MOST_NETWORKS);
        options->what[options->count++] = text;
        return 0;
    case ARGP_KEY_END:
        if (options->count == 0)
            argp_error(state, "a model file or a network wanted");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static char *add_families(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC || !text)
        return (char *)text;
    char *help = NULL;
    size_t size;
    FILE *out = open_memstream(&help, &size);
    if (!out)
        return (char *)text;
    fputs(text, out);
    for (int i = 0; retort_network_help(i); i++)
        fprintf(out, "%s%s", i ? "\n" : "", retort_network_help(i));
    fclose(out);
    return help;
}

static const struct argp parser = {
    rows,
    parse,
    "MODEL|NET...",
    "Shows layers, taps, parameters and multiply-accumulates of model files or of "
    "networks written family:key=value,...; for two, the ratios first/second."
    "\vFamilies and their keys with defaults:\n",
    NULL,
    add_families,
    NULL};

static void print_layers(const retort_network *network)
{
    printf("%-34s %-16s %-14s %12s %14s\n", "layer", "kind", "output", "parameters", "MACs");
    for (int i = 0; i < retort_network_layers(network); i++) {
        struct retort_layer layer = retort_network_layer(network, i);
        char shape[48];
        snprintf(shape, sizeof(shape), "%dx%dx%d", layer.channels, layer.height, layer.width);
        printf("%-34s %-16s %-14s %12" PRId64 " %14" PRId64 "%s%s\n", layer.name, layer.kind, shape,
               layer.parameters, layer.macs, layer.tap ? "  tap " : "", layer.tap ? layer.tap : "");
    }
}

static double ratio(int64_t a, int64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static void print_text(retort_network *const *networks, int count)
{
    for (int i = 0; i < count; i++) {
        const retort_network *n = networks[i];
        printf("%s%s\n", i ? "\n" : "", retort_network_name(n));
        print_layers(n);
        printf("parameters %" PRId64 ", MACs %" PRId64, retort_network_parameters(n),
               retort_network_macs(n));
        if (retort_network_file_bytes(n))
            printf(", file %" PRId64 " bytes", retort_network_file_bytes(n));
        putchar('\n');
    }
    if (count == 2)
        printf(
            "\nratio: parameters %.2f, MACs %.2f\n",
            ratio(retort_network_parameters(networks[0]), retort_network_parameters(networks[1])),
            ratio(retort_network_macs(networks[0]), retort_network_macs(networks[1])));
}

static void print_json(retort_network *const *networks, int count)
{
    json_t *models = json_array();
    for (int i = 0; i < count; i++) {
        const retort_network *n = networks[i];
        json_t *model = json_pack("{s:s, s:I, s:I}", "name", retort_network_name(n), "parameters",
                                  (json_int_t)retort_network_parameters(n), "macs",
                                  (json_int_t)retort_network_macs(n));
        if (retort_network_file_bytes(n))
            json_object_set_new(model, "bytes", json_integer(retort_network_file_bytes(n)));
        json_array_append_new(models, model);
    }
    json_t *all = json_pack("{s:o}", "models", models);
    if (count == 2)
        json_object_set_new(
            all, "ratio",
            json_pack("{s:f, s:f}", "parameters",
                      ratio(retort_network_parameters(networks[0]),
                            retort_network_parameters(networks[1])),
                      "macs",
                      ratio(retort_network_macs(networks[0]), retort_network_macs(networks[1]))));
    json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(all);
}

static int run(int argc, char **argv)
{
    struct options options = {.classes = 10, .input = {3, 32, 32}};
    retort_network *networks[MOST_NETWORKS] = {NULL};
    int code = EXIT_OK;
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    for (int i = 0; i < options.count && code == EXIT_OK; i++)
        if (retort_network_open(options.what[i], options.classes, options.input, &networks[i]) !=
            RETORT_OK)
            code = report_failure();
    if (code == EXIT_OK)
        (options.json ? print_json : print_text)(networks, options.count);
    for (int i = 0; i < options.count; i++)
        retort_network_close(networks[i]);
    return code;
}

const struct command command_inspect = {"inspect", "shows layers, taps and cost of networks", run};
