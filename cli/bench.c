/* bench.c - retort bench: how fast this machine is. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "retort/bench.h"

struct options {
    struct retort_bench_options bench;
    const char *data;     /* NULL: networks */
    const char *networks; /* an option that was given and that networks alone have */
    int size;             /* of the images of --data; 0: 64 */
    bool json, all;
};

enum {
    OPTION_JSON = 256,
    OPTION_PRECISION,
    OPTION_REPEAT,
    OPTION_PROFILE,
    OPTION_PAIR,
    OPTION_MODE,
    OPTION_BATCH,
    OPTION_THREADS,
    OPTION_DATA,
    OPTION_SIZE,
    OPTION_ALL
};

static const struct argp_option rows[] = {
    {"pair", OPTION_PAIR, "NAME", 0,
     "resnet (32 -> 8, default), vgg (11 -> 6) or mobilenet (16 -> 9)", 0},
    {"mode", OPTION_MODE, "NAME", 0,
     "only train-teacher, train-student, eval-teacher, eval-student or kd", 0},
    {"data", OPTION_DATA, "SPEC", 0,
     "measure the loader alone, not networks, on NAME[:PATH], e.g. fashion-mnist or cifar100:DIR",
     0},
    {"size", OPTION_SIZE, "N", 0,
     "with --data: height and width of images, for sets of images of any size (64)", 0},
    {"batch", OPTION_BATCH, "N", 0, "images a step (128; mobilenet 64)", 0},
    {"threads", OPTION_THREADS, "N", 0, "default: one per core; with --data 1", 0},
    {"precision", OPTION_PRECISION, "P", 0, "f32 (default) or bf16", 0},
    {"repeat", OPTION_REPEAT, "N", 0,
     "timed steps per mode (15); with --data passes over the set (3 seconds)", 0},
    {"all", OPTION_ALL, NULL, 0,
     "with --data: every augmentation: also turned, with colours changed, with a square cut out, "
     "mixed with another image",
     0},
    {"profile", OPTION_PROFILE, NULL, 0, "also a table of every step of every network", 0},
    {"json", OPTION_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_PAIR:
        options->bench.pair = text;
        options->networks = "pair";
        return 0;
    case OPTION_DATA:
        options->data = text;
        return 0;
    case OPTION_SIZE:
        options->size = option_number(state, "size", text, 1, 1024);
        return 0;
    case OPTION_ALL:
        options->all = true;
        return 0;
    case OPTION_MODE:
        options->bench.mode = text;
        options->networks = "mode";
        return 0;
    case OPTION_BATCH:
        options->bench.batch = option_number(state, "batch", text, 1, 65536);
        return 0;
    case OPTION_THREADS:
        options->bench.threads = option_number(state, "threads", text, 1, 4096);
        return 0;
    case OPTION_REPEAT:
        options->bench.repeat = option_number(state, "repeat", text, 1, 1000000);
        return 0;
    case OPTION_PRECISION:
        options->networks = "precision";
        options->bench.bf16 = strcmp(text, "bf16") == 0;
        if (!options->bench.bf16 && strcmp(text, "f32"))
            argp_error(state, "--precision: %s found, f32 or bf16 wanted", text);
        return 0;
    case OPTION_PROFILE:
        options->bench.profile = true;
        options->networks = "profile";
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "%s: no argument wanted", text);
        return 0;
    case ARGP_KEY_END:
        if ((options->all || options->size) && !options->data)
            argp_error(state, "--%s: an option of --data found, and no --data",
                       options->all ? "all" : "size");
        if (options->data && options->networks)
            argp_error(state, "--%s: an option of networks found, and --data runs none",
                       options->networks);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    rows,
    parse,
    NULL,
    "Measures how fast this machine trains, evaluates and distils, or, with --data, how fast it "
    "makes batches of a data set: shuffled, flipped, cropped, normalised.",
    NULL,
    NULL,
    NULL};

static double share_of_peak(const struct retort_bench_result *result,
                            const struct retort_bench_mode *mode)
{
    return mode->gflops_per_second / result->peak_gflops_per_second;
}

static void print_table(const char *pair, const char *precision,
                        const struct retort_bench_result *result)
{
    printf("%s, batch %d, %d threads, %s\n", pair, result->batch, result->threads, precision);
    printf("%-14s %10s %10s %12s %10s %10s\n", "mode", "ms", "least ms", "images/s", "GFLOP/s",
           "of peak");
    for (int i = 0; i < result->mode_count; i++) {
        const struct retort_bench_mode *m = &result->modes[i];
        printf("%-14s %10.2f %10.2f %12.0f %10.0f %8.0f %%\n", m->mode, m->ms, m->least_ms,
               m->images_per_second, m->gflops_per_second, share_of_peak(result, m) * 100);
    }
    printf("peak of the processor %.0f GFLOP/s (f32, measured), peak memory %ld MB\n",
           result->peak_gflops_per_second, result->peak_bytes >> 20);
    for (int i = 0; i < result->mode_count; i++)
        if (result->modes[i].profile)
            printf("\n%s\n%s", result->modes[i].mode, result->modes[i].profile);
}

static void print_json(const char *pair, const char *precision,
                       const struct retort_bench_result *result)
{
    json_t *modes = json_array();
    for (int i = 0; i < result->mode_count; i++) {
        const struct retort_bench_mode *m = &result->modes[i];
        json_array_append_new(
            modes,
            json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:I}", "mode", m->mode, "precision",
                      precision, "ms", m->ms, "least_ms", m->least_ms, "images_per_second",
                      m->images_per_second, "gflops_per_second", m->gflops_per_second, "peak_share",
                      share_of_peak(result, m), "workspace_bytes", (json_int_t)m->workspace_bytes));
    }
    json_t *all =
        json_pack("{s:s, s:i, s:i, s:I, s:f, s:o}", "pair", pair, "batch", result->batch, "threads",
                  result->threads, "peak_bytes", (json_int_t)result->peak_bytes,
                  "peak_gflops_per_second", result->peak_gflops_per_second, "results", modes);
    json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(all);
}

/* ---- the loader ---- */

static void print_loader_text(const char *data, bool all,
                              const struct retort_bench_loader_result *result)
{
    printf("%s, batches of %d images of %dx%dx%d, %s, normalised, by %d thread%s\n", data,
           result->batch, result->shape[0], result->shape[1], result->shape[2],
           all ? "turned, flipped, cropped, recoloured, cut out, mixed" : "flipped, cropped",
           result->threads, result->threads > 1 ? "s" : "");
    printf("%.0f images/s per core, %.0f images/s\n", result->images_per_second_per_core,
           result->images_per_second);
    if (result->read_per_second_per_core > 0)
        printf("opened, and decoded where need be, at %.0f images/s per core\n",
               result->read_per_second_per_core);
}

static void print_loader_json(const char *data, bool all,
                              const struct retort_bench_loader_result *result)
{
    json_t *json =
        json_pack("{s:s, s:f, s:f, s:i, s:f, s:b}", "data", data, "images_per_second_per_core",
                  result->images_per_second_per_core, "images_per_second",
                  result->images_per_second, "threads", result->threads,
                  "read_images_per_second_per_core", result->read_per_second_per_core, "all", all);
    json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(json);
}

static int run_loader(const struct options *options)
{
    const struct retort_bench_loader_options loading = {.data = options->data,
                                                        .batch = options->bench.batch,
                                                        .threads = options->bench.threads,
                                                        .repeat = options->bench.repeat,
                                                        .size = options->size,
                                                        .all = options->all};
    struct retort_bench_loader_result result;
    if (retort_bench_loader(&loading, &result) != RETORT_OK)
        return report_failure();
    (options->json ? print_loader_json : print_loader_text)(options->data, options->all, &result);
    return EXIT_OK;
}

static int run(int argc, char **argv)
{
    struct options options = {.bench = {.pair = "resnet"}};
    struct retort_bench_result result;
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    if (options.data)
        return run_loader(&options);
    if (retort_bench(&options.bench, &result) != RETORT_OK)
        return report_failure();
    (options.json ? print_json : print_table)(options.bench.pair,
                                              options.bench.bf16 ? "bf16" : "f32", &result);
    retort_bench_release(&result);
    return EXIT_OK;
}

const struct command command_bench = {
    "bench", "measures how fast this machine trains, evaluates and distils", run};
