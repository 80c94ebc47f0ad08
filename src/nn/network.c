/* network.c - retort/network.h: graphs from files or specifications, to look at. */
#include "retort/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "nn/cost.h"
#include "nn/model.h"
#include "nn/op/op.h"
#include "nn/zoo/family.h"

struct retort_network {
    struct model model; /* of a file; else only its graph is used */
    int64_t file_bytes;
};

/* A file, or something written like one, so that a mistyped path is reported as a path. A folder
 * that is called like a family does not hide it. */
static bool is_path(const char *what)
{
    return (file_exists(what) && !file_is_folder(what)) || strcspn(what, "./") < strcspn(what, ":");
}

static enum retort_status open_file(const char *path, struct retort_network *network)
{
    struct stat info;
    if (stat(path, &info) == 0)
        network->file_bytes = (int64_t)info.st_size;
    return model_load(path, &network->model);
}

enum retort_status retort_network_open(const char *what, int classes, const int input[3],
                                       retort_network **network)
{
    struct retort_network *made;
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    enum retort_status status =
        is_path(what) ? open_file(what, made)
                      : network_build(what, classes, (struct shape){input[0], input[1], input[2]},
                                      &made->model.graph);
    if (status == RETORT_OK)
        *network = made;
    else
        retort_network_close(made);
    return status;
}

void retort_network_close(retort_network *network)
{
    if (network)
        model_release(&network->model);
    free(network);
}

const char *retort_network_name(const retort_network *network)
{
    return network->model.graph.network;
}

int64_t retort_network_parameters(const retort_network *network)
{
    return cost_parameters(&network->model.graph);
}

int64_t retort_network_macs(const retort_network *network)
{
    return cost_macs(&network->model.graph);
}

int64_t retort_network_file_bytes(const retort_network *network)
{
    return network->file_bytes;
}

int retort_network_layers(const retort_network *network)
{
    return network->model.graph.node_count;
}

struct retort_layer retort_network_layer(const retort_network *network, int index)
{
    const struct graph *graph = &network->model.graph;
    const struct node *node = &graph->nodes[index];
    struct retort_layer layer = {.kind = op_of(node->kind)->name,
                                 .name = node->name,
                                 .channels = node->shape.c,
                                 .height = node->shape.h,
                                 .width = node->shape.w,
                                 .parameters = cost_node_parameters(graph, index),
                                 .macs = cost_node_macs(graph, index)};
    for (int i = 0; i < graph->tap_count; i++)
        if (graph->taps[i].node == index)
            layer.tap = graph->taps[i].name;
    return layer;
}

const char *retort_network_help(int index)
{
    static char line[512];
    for (int f = 0; network_families[f]; f++) {
        const struct setting_table *table = network_families[f]->settings;
        if (index == 0) {
            snprintf(line, sizeof(line), "%s: %s", network_families[f]->name,
                     network_families[f]->help);
            return line;
        }
        if (--index < table->count) {
            const struct setting *row = &table->rows[index];
            snprintf(line, sizeof(line), "  %s=%s  %s", row->name,
                     row->fallback ? row->fallback : "", row->help);
            return line;
        }
        index -= table->count;
    }
    return NULL;
}
