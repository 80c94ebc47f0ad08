/* data.c - retort data: lists, describes, checks, fetches and converts data sets. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "interrupt.h"
#include "retort/data.h"
#include "text_json.h"

struct options {
    struct retort_data_options data;
    const char *action, *spec, *folder, *from;
    bool json, quiet;
};

/* What can be done: one row each. */
struct action {
    const char *name;
    int least, most; /* arguments behind the name */
    bool reads;      /* takes --size, --held-out and --skip-bad */
    bool takes_from; /* and --quiet; no --json */
    int (*run)(const struct options *options);
};

/* ---- list ---- */

static int list_sets(const struct options *options)
{
    struct retort_data_format format;
    json_t *all = json_array();
    for (int i = 0; retort_data_format(i, &format); i++) {
        if (options->json)
            json_array_append_new(
                all, json_pack("{s:s, s:s, s:s?, s:b}", "name", format.name, "help", format.help,
                               "default_path", format.default_path, "can_fetch", format.can_fetch));
        else
            printf("%-16s %s%s\n", format.name, format.help,
                   format.can_fetch ? " (can be fetched)" : "");
    }
    if (options->json) {
        json_dumpf(all, stdout, JSON_COMPACT);
        putchar('\n');
    }
    json_decref(all);
    return EXIT_OK;
}

/* ---- info, check, convert ---- */

static void list_skipped(const struct retort_data_info *info)
{
    for (int i = 0; i < info->skipped_count; i++)
        fprintf(stderr, "skipped: %s\n", info->skipped[i]);
}

static json_t *info_json(const struct retort_data_info *info)
{
    json_t *mean = json_array(), *std = json_array(), *names = json_array(),
           *skipped = json_array();
    for (int c = 0; c < info->shape[0]; c++) {
        json_array_append_new(mean, json_real(info->mean[c]));
        json_array_append_new(std, json_real(info->std[c]));
    }
    for (int i = 0; i < info->classes; i++)
        json_array_append_new(names, text_json(info->class_names[i]));
    for (int i = 0; i < info->skipped_count; i++)
        json_array_append_new(skipped, text_json(info->skipped[i]));
    return json_pack(
        "{s:s, s:i, s:i, s:[iii], s:o, s:o, s:o, s:o, s:i, s:f, s:[ii], s:[ii], s:i, s:s?}", "name",
        info->name, "train", (int)info->train, "test", (int)info->test, "shape", info->shape[0],
        info->shape[1], info->shape[2], "mean", mean, "std", std, "classes", names, "skipped",
        skipped, "left_out", info->left_out, "held_out", info->held_out, "train_per_class",
        info->train_per_class[0], info->train_per_class[1], "test_per_class",
        info->test_per_class[0], info->test_per_class[1], "val", (int)info->val, "remark",
        info->remark);
}

static void print_numbers(const char *title, const double *values, int count)
{
    printf("%-9s", title);
    for (int i = 0; i < count; i++)
        printf(" %.6f", values[i]);
    putchar('\n');
}

static void print_info(const struct retort_data_info *info)
{
    enum { SHOWN = 10 };
    printf("%-9s %s\n", "set", info->name);
    printf("%-9s %ld training, %ld test, ", "images", info->train, info->test);
    if (info->val > 0)
        printf("%ld validation, ", info->val);
    printf("%dx%dx%d\n", info->shape[0], info->shape[1], info->shape[2]);
    printf("%-9s %d to %d training, %d to %d test", "per class", info->train_per_class[0],
           info->train_per_class[1], info->test_per_class[0], info->test_per_class[1]);
    if (info->held_out > 0)
        printf(", a share of %g held out to test", info->held_out);
    putchar('\n');
    print_numbers("mean", info->mean, info->shape[0]);
    print_numbers("std", info->std, info->shape[0]);
    printf("%-9s %d:", "classes", info->classes);
    for (int i = 0; i < info->classes && i < SHOWN; i++) /* names may hold commas */
        printf("%s %s", i ? ";" : "", info->class_names[i]);
    puts(info->classes > SHOWN ? "; ..." : "");
    if (info->skipped_count > 0)
        printf("%-9s %d\n", "skipped", info->skipped_count);
    if (info->remark)
        printf("%-9s %s\n", "remark", info->remark);
    if (info->left_out > 0)
        printf("%-9s %d when the set was converted\n", "skipped", info->left_out);
}

static void print_either(const struct options *options, const struct retort_data_info *info,
                         json_t *json)
{
    if (options->json) {
        json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        putchar('\n');
    } else {
        print_info(info);
    }
    json_decref(json);
    list_skipped(info);
}

static int show_info(const struct options *options)
{
    struct retort_data_info info;
    if (retort_data_info(options->spec, &options->data, &info) != RETORT_OK)
        return report_failure();
    print_either(options, &info, info_json(&info));
    retort_data_info_release(&info);
    return EXIT_OK;
}

/* A bar that is drawn anew when it says something else. */
enum { BAR_WIDTH = 40 };

static void draw_share(int percent)
{
    putc('[', stderr);
    for (int i = 0; i < BAR_WIDTH; i++)
        putc(i < percent * BAR_WIDTH / 100 ? '#' : '.', stderr);
    fprintf(stderr, "] %3d %%", percent);
}

static bool draw_conversion(void *context, long done, long total)
{
    int *shown = context; /* percent; below 0: nothing is drawn */
    const int percent = (int)(done * 100 / total);
    if (*shown >= 0 && percent != *shown) {
        *shown = percent;
        fputs("\r", stderr);
        draw_share(percent);
        fprintf(stderr, ", %ld of %ld images ", done, total);
    }
    return !interrupt_asked();
}

static int convert_set(const struct options *options)
{
    struct retort_data_info info;
    struct retort_data_options data = options->data;
    int shown = isatty(STDERR_FILENO) ? 0 : -1;
    data.progress = draw_conversion;
    data.context = &shown;
    interrupt_catch();
    const enum retort_status status =
        retort_data_convert(options->spec, &data, options->folder, &info);
    if (shown > 0)
        putc('\n', stderr);
    if (status != RETORT_OK) {
        const int code = report_failure();
        return status == RETORT_STOPPED ? 128 + interrupt_asked() : code;
    }
    print_either(options, &info, info_json(&info));
    retort_data_info_release(&info);
    return EXIT_OK;
}

static void print_duplicates(const char *title, long count, long conflicts)
{
    printf("%-34s %ld", title, count);
    if (conflicts > 0)
        printf(", %ld of them under another label", conflicts);
    putchar('\n');
}

static json_t *duplicates_json(const struct retort_data_duplicates *found)
{
    const struct {
        const char *key;
        long count;
    } rows[] = {{"train", found->train},
                {"test", found->test},
                {"shared", found->shared},
                {"train_conflicts", found->train_conflicts},
                {"test_conflicts", found->test_conflicts},
                {"shared_conflicts", found->shared_conflicts},
                {"val", found->val},
                {"val_train", found->val_train},
                {"val_test", found->val_test},
                {"val_conflicts", found->val_conflicts},
                {"val_train_conflicts", found->val_train_conflicts},
                {"val_test_conflicts", found->val_test_conflicts}};
    json_t *json = json_object();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        json_object_set_new(json, rows[i].key, json_integer(rows[i].count));
    return json;
}

static void print_all_duplicates(const struct retort_data_info *info,
                                 const struct retort_data_duplicates *found)
{
    print_duplicates("repeated training images", found->train, found->train_conflicts);
    print_duplicates("repeated test images", found->test, found->test_conflicts);
    print_duplicates("test images that are also trained", found->shared, found->shared_conflicts);
    if (info->val == 0)
        return;
    print_duplicates("repeated validation images", found->val, found->val_conflicts);
    print_duplicates("validation images also trained", found->val_train,
                     found->val_train_conflicts);
    print_duplicates("validation images also tested", found->val_test, found->val_test_conflicts);
}

static int check_set(const struct options *options)
{
    struct retort_data_info info;
    struct retort_data_duplicates found;
    if (retort_data_check(options->spec, &options->data, &info, &found) != RETORT_OK)
        return report_failure();
    json_t *json = info_json(&info);
    json_object_set_new(json, "duplicates", duplicates_json(&found));
    print_either(options, &info, json);
    if (!options->json)
        print_all_duplicates(&info, &found);
    int bad = info.skipped_count;
    retort_data_info_release(&info);
    if (bad == 0 || options->data.skip_bad)
        return EXIT_OK;
    fprintf(stderr, "retort: %s: %d record%s cannot be used; --skip-bad leaves them out\n",
            options->spec, bad, bad > 1 ? "s" : "");
    return EXIT_FAILED;
}

/* ---- fetch ---- */

/* What the bar shows: it is drawn anew when a percent has been added. */
struct bar {
    char file[128];
    int percent;
};

static void draw_bar(void *context, const char *file, uint64_t done, uint64_t total)
{
    struct bar *bar = context;
    int percent = total ? (int)(done * 100 / total) : (int)(done >> 20);
    if (percent == bar->percent && strncmp(bar->file, file, sizeof(bar->file) - 1) == 0)
        return;
    bar->percent = percent;
    snprintf(bar->file, sizeof(bar->file), "%s", file);
    double megabytes = (double)done * 1e-6;
    if (!total) {
        fprintf(stderr, "\r%s %.1f MB ", file, megabytes);
        return;
    }
    fprintf(stderr, "\r%s ", file);
    draw_share(percent);
    fprintf(stderr, ", %.1f of %.1f MB ", megabytes, (double)total * 1e-6);
}

static const char *default_folder(const char *name)
{
    struct retort_data_format format;
    for (int i = 0; retort_data_format(i, &format); i++)
        if (strcmp(format.name, name) == 0)
            return format.fetch_folder;
    return "";
}

static int fetch_set(const struct options *options)
{
    struct bar bar = {.percent = -1};
    bool show = !options->quiet && isatty(STDERR_FILENO);
    const struct retort_data_fetching fetching = {.name = options->spec,
                                                  .folder = options->folder,
                                                  .from = options->from,
                                                  .progress = show ? draw_bar : NULL,
                                                  .context = &bar};
    enum retort_status status = retort_data_fetch(&fetching);
    if (bar.file[0])
        putc('\n', stderr);
    if (status != RETORT_OK)
        return report_failure();
    if (!options->quiet)
        printf("%s is in %s, and is what was published\n", options->spec,
               options->folder ? options->folder : default_folder(options->spec));
    return EXIT_OK;
}

/* ---- arguments ---- */

static const struct action actions[] = {
    {"list", 0, 0, false, false, list_sets},     {"info", 1, 1, true, false, show_info},
    {"check", 1, 1, true, false, check_set},     {"fetch", 1, 2, false, true, fetch_set},
    {"convert", 2, 2, true, false, convert_set},
};
enum { ACTIONS = sizeof(actions) / sizeof(actions[0]) };

enum {
    OPTION_JSON = 256,
    OPTION_SIZE,
    OPTION_HELD_OUT,
    OPTION_SKIP_BAD,
    OPTION_FROM,
    OPTION_QUIET
};

static const struct argp_option rows[] = {
    {"size", OPTION_SIZE, "N", 0, "height and width of images, for sets of images of any size (64)",
     0},
    {"held-out", OPTION_HELD_OUT, "SHARE", 0,
     "share of each class that becomes the test set, for a folder without val and test (0.1)", 0},
    {"skip-bad", OPTION_SKIP_BAD, NULL, 0, "leave out, and list, records that cannot be used", 0},
    {"from", OPTION_FROM, "URL", 0, "fetch: an address that has the files, instead of the official",
     0},
    {"quiet", OPTION_QUIET, NULL, 0, "fetch: say nothing but failures", 0},
    {"json", OPTION_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static const struct action *find_action(const char *name)
{
    for (int i = 0; i < ACTIONS; i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

static void check_arguments(struct argp_state *state, const struct options *options)
{
    const struct action *action = options->action ? find_action(options->action) : NULL;
    int count = !!options->spec + !!options->folder;
    if (!action) {
        argp_error(state, "%s found, one of list, info, check, fetch, convert wanted",
                   options->action ? options->action : "nothing");
        return;
    }
    if (count < action->least || count > action->most)
        argp_error(state, "%s: %d arguments found, %d%s wanted", action->name, count, action->least,
                   action->most > action->least ? " or one more" : "");
    if ((options->from || options->quiet) && !action->takes_from)
        argp_error(state, "--from and --quiet belong to fetch, %s found", action->name);
    if ((options->data.size || options->data.held_out > 0 || options->data.skip_bad) &&
        !action->reads)
        argp_error(state, "--size, --held-out and --skip-bad do not belong to %s", action->name);
    if (options->json && action->takes_from)
        argp_error(state, "--json does not belong to %s", action->name);
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPTION_SIZE:
        options->data.size = option_number(state, "size", text, 1, 1024);
        return 0;
    case OPTION_HELD_OUT:
        options->data.held_out = option_share(state, "held-out", text, 0.9);
        return 0;
    case OPTION_SKIP_BAD:
        options->data.skip_bad = true;
        return 0;
    case OPTION_FROM:
        options->from = text;
        return 0;
    case OPTION_QUIET:
        options->quiet = true;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->folder)
            argp_error(state, "%s: one argument too many", text);
        *(!options->action ? &options->action
          : !options->spec ? &options->spec
                           : &options->folder) = text;
        return 0;
    case ARGP_KEY_END:
        check_arguments(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    rows,
    parse,
    "list\ninfo SPEC\ncheck SPEC\nfetch NAME [DIR]\nconvert SPEC DIR",
    "Lists data sets, tells what is in one, checks every record and counts equal images, fetches "
    "one from its official address, or converts one into files that are mapped into memory."
    "\vSPEC is NAME[:PATH], e.g. fashion-mnist, cifar100:DIR, folder:DIR or shard:DIR.",
    NULL,
    NULL,
    NULL};

static int run(int argc, char **argv)
{
    struct options options = {0};
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    return find_action(options.action)->run(&options);
}

const struct command command_data = {"data",
                                     "lists, describes, checks, fetches, converts data sets", run};
