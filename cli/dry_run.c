/* dry_run.c - what a run would do: recipe, networks, pairs of taps, steps, time. */
#include "dry_run.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "command.h"
#include "progress.h"
#include "retort/network.h"
#include "retort/plan.h"
#include "retort/repeat.h"
#include "text_json.h"

struct networks {
    retort_network *teacher, *student;
    double parameters, macs; /* ratios teacher/student */
};

static enum retort_status open_networks(const struct retort_plan *plan, struct networks *networks)
{
    enum retort_status status = RETORT_OK;
    if (plan->teacher)
        status = retort_network_open(plan->teacher, plan->classes, plan->input, &networks->teacher);
    if (status == RETORT_OK)
        status = retort_network_open(plan->student, plan->classes, plan->input, &networks->student);
    if (status != RETORT_OK || !plan->teacher)
        return status;
    networks->parameters = (double)retort_network_parameters(networks->teacher) /
                           (double)retort_network_parameters(networks->student);
    networks->macs = (double)retort_network_macs(networks->teacher) /
                     (double)retort_network_macs(networks->student);
    return RETORT_OK;
}

/* ---- text ---- */

static void print_network(const char *role, const retort_network *network)
{
    printf("\n%s: %s, %" PRId64 " parameters, %" PRId64 " MACs\n", role,
           retort_network_name(network), retort_network_parameters(network),
           retort_network_macs(network));
    for (int i = 0; i < retort_network_layers(network); i++) {
        struct retort_layer layer = retort_network_layer(network, i);
        if (layer.tap)
            printf("  tap %-12s %dx%dx%d\n", layer.tap, layer.channels, layer.height, layer.width);
    }
}

static void print_parts(const struct retort_plan *plan)
{
    char time[32], name[64];
    printf("\n%-18s %8s %8s %12s %10s %12s\n", "part", "epochs", "batch", "steps/epoch", "ms/step",
           "time");
    for (int i = 0; i < plan->part_count; i++) {
        const struct retort_plan_part *part = &plan->parts[i];
        progress_time(part->seconds, time, sizeof(time));
        if (part->stages > 1)
            snprintf(name, sizeof(name), "%s, stage %d", part->part, part->stage);
        else
            snprintf(name, sizeof(name), "%s", part->part);
        printf("%-18s %8d %8d %12ld %10.1f %12s\n", name, part->epochs, part->batch, part->steps,
               part->step_seconds * 1e3, time);
    }
    progress_time(plan->seconds, time, sizeof(time));
    printf("training takes about %s on this machine, measured by a few steps of each part\n", time);
}

static void print_repeat(const struct retort_plan *plan, int repeat)
{
    char time[32];
    progress_time(plan->seconds * repeat, time, sizeof(time));
    printf("%d seeds take up to %s, each in a folder of its own below it\n", repeat, time);
}

static void print_taps(const struct retort_plan *plan)
{
    for (int i = 0; i < plan->pair_count; i++)
        printf("%s%s-%s%s", i ? ", " : "pairs of taps: ", plan->pairs[i].first,
               plan->pairs[i].second, i == plan->pair_count - 1 ? "\n" : "");
    for (int i = 0; i < plan->adapter_count; i++)
        printf("%s%s %d -> %d%s",
               i ? ", " : "adapters (1x1 convolution + batch norm): ", plan->adapters[i].tap,
               plan->adapters[i].from, plan->adapters[i].to,
               i == plan->adapter_count - 1 ? "\n" : "");
}

static void print_text(const struct retort_plan *plan, const struct networks *networks, int repeat)
{
    char role[32];
    fputs(plan->recipe, stdout);
    if (plan->teacher) {
        snprintf(role, sizeof(role), plan->teacher_count > 1 ? "teacher (%d of them)" : "teacher",
                 plan->teacher_count);
        print_network(role, networks->teacher);
    }
    print_network("student", networks->student);
    if (plan->teacher)
        printf("\nteacher/student: %.2fx parameters, %.2fx MACs\n", networks->parameters,
               networks->macs);
    print_taps(plan);
    if (plan->cache_bytes > 0)
        printf("teacher cache: %.1f MB in %s/state\n", plan->cache_bytes / 1e6, plan->folder);
    print_parts(plan);
    if (repeat > 1)
        print_repeat(plan, repeat);
    printf("folder: %s (nothing was written)\n", plan->folder);
}

/* ---- JSON ---- */

static json_t *network_object(const retort_network *network)
{
    json_t *taps = json_object();
    for (int i = 0; i < retort_network_layers(network); i++) {
        const struct retort_layer layer = retort_network_layer(network, i);
        if (layer.tap)
            json_object_set_new(taps, layer.tap,
                                json_pack("[i, i, i]", layer.channels, layer.height, layer.width));
    }
    return json_pack("{s:s, s:I, s:I, s:o}", "network", retort_network_name(network), "parameters",
                     (json_int_t)retort_network_parameters(network), "macs",
                     (json_int_t)retort_network_macs(network), "taps", taps);
}

static void print_json(const struct retort_plan *plan, const struct networks *networks, int repeat)
{
    json_t *pairs = json_array(), *parts = json_array(), *adapters = json_array();
    for (int i = 0; i < plan->pair_count; i++)
        json_array_append_new(pairs,
                              json_pack("[s, s]", plan->pairs[i].first, plan->pairs[i].second));
    for (int i = 0; i < plan->adapter_count; i++)
        json_array_append_new(adapters,
                              json_pack("{s:s, s:i, s:i}", "tap", plan->adapters[i].tap, "from",
                                        plan->adapters[i].from, "to", plan->adapters[i].to));
    for (int i = 0; i < plan->part_count; i++) {
        const struct retort_plan_part *part = &plan->parts[i];
        json_array_append_new(parts,
                              json_pack("{s:s, s:i, s:i, s:I, s:f, s:f, s:i}", "part", part->part,
                                        "epochs", part->epochs, "batch", part->batch, "steps",
                                        (json_int_t)part->steps, "ms", part->step_seconds * 1e3,
                                        "seconds", part->seconds, "stage", part->stage));
    }
    json_t *all = json_pack("{s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:f, s:f, s:i}", "folder",
                            plan->folder, "recipe", plan->recipe, "teachers", plan->teacher_count,
                            "student", network_object(networks->student), "pairs", pairs,
                            "adapters", adapters, "parts", parts, "cache_bytes", plan->cache_bytes,
                            "seconds", plan->seconds, "seeds", repeat);
    if (plan->teacher) {
        json_object_set_new(all, "teacher", network_object(networks->teacher));
        json_object_set_new(
            all, "ratio",
            json_pack("{s:f, s:f}", "parameters", networks->parameters, "macs", networks->macs));
    }
    if (plan->obstacle)
        json_object_set_new(all, "obstacle", text_json(plan->obstacle));
    json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(all);
}

int dry_run(const struct retort_run_options *options, int repeat, bool json)
{
    struct retort_plan plan;
    struct networks networks = {0};
    if ((repeat > 0 ? retort_repeat_plan : retort_plan)(options, &plan) != RETORT_OK)
        return report_failure();
    int code = plan.obstacle ? EXIT_FAILED : EXIT_OK;
    if (open_networks(&plan, &networks) == RETORT_OK)
        (json ? print_json : print_text)(&plan, &networks, repeat > 0 ? repeat : 1);
    else
        code = report_failure();
    if (plan.obstacle)
        fprintf(stderr, "retort: it would not begin: %s\n", plan.obstacle);
    retort_network_close(networks.teacher);
    retort_network_close(networks.student);
    retort_plan_release(&plan);
    return code;
}
