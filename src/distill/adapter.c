/* adapter.c - a graph with something between its taps and their readers. */
#include "distill/adapter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/op/op.h"

#define PREFIX "adapter."

static const struct adapter *adapter_for(const struct adapter *adapters, int count, const char *tap)
{
    for (int i = 0; i < count; i++)
        if (strcmp(adapters[i].tap, tap) == 0)
            return &adapters[i];
    return NULL;
}

/* The two nodes behind node `from`, which is the student's tap. */
static enum retort_status add_adapter(struct graph *graph, const struct adapter *adapter, int from,
                                      int *node)
{
    const struct conv_attributes conv = {
        .out_channels = adapter->channels, .kernel = 1, .stride = 1, .groups = 1};
    char name[256];
    snprintf(name, sizeof(name), PREFIX "%s.conv", adapter->tap);
    TRY(graph_add(graph, OP_conv, name, &from, 1, &conv, node));
    snprintf(name, sizeof(name), PREFIX "%s.bn", adapter->tap);
    return graph_add(graph, OP_batch_norm, name, node, 1, NULL, node);
}

/* The taps of the student's node number `from`, which is node `to` here, moved behind adapters. */
static enum retort_status add_taps(const struct graph *student, const struct adapter *adapters,
                                   int count, int from, int to, struct graph *graph)
{
    for (int i = 0; i < student->tap_count; i++) {
        const struct tap *tap = &student->taps[i];
        const struct adapter *adapter = adapter_for(adapters, count, tap->name);
        int node = to;
        if (tap->node != from)
            continue;
        if (adapter)
            TRY(add_adapter(graph, adapter, to, &node));
        TRY(graph_tap(graph, tap->name, node));
    }
    return RETORT_OK;
}

static enum retort_status extend(const struct graph *student, const struct adapter *adapters,
                                 int count, struct graph *graph)
{
    int *place; /* of the student's nodes */
    struct arena arena = {0};
    enum retort_status status;
    TRY_DONE(arena_take(&arena, (size_t)student->node_count * sizeof(*place), (void **)&place));
    TRY_DONE(graph_begin(graph, student->network, student->input));
    for (int i = 1; i < student->node_count; i++) {
        const struct node *node = &student->nodes[i];
        int inputs[OP_INPUTS];
        for (int k = 0; k < node->input_count; k++)
            inputs[k] = place[node->inputs[k]];
        TRY_DONE(graph_add(graph, node->kind, node->name, inputs, node->input_count,
                           node->attributes, &place[i]));
        TRY_DONE(add_taps(student, adapters, count, i, place[i], graph));
    }
    status = graph_finish(graph);
done:
    arena_release(&arena);
    return status;
}

bool adapter_owns(const struct parameter *parameter)
{
    return strncmp(parameter->name, PREFIX, strlen(PREFIX)) == 0;
}

/* Numbers of parameters of the same name and shape; `adapters`: of those only. */
static void copy_values(const struct model *from, struct model *to, bool adapters)
{
    for (int i = 0; i < to->graph.parameter_count; i++) {
        const struct parameter *parameter = &to->graph.parameters[i];
        const int number = graph_find_parameter(&from->graph, parameter->name);
        if (number < 0 || (adapters && !adapter_owns(parameter)) ||
            parameter_count(&from->graph.parameters[number]) != parameter_count(parameter))
            continue;
        memcpy(to->values[i], from->values[number], parameter_count(parameter) * sizeof(float));
    }
}

enum retort_status adapter_attach(const struct model *student, const struct adapter *adapters,
                                  int count, uint64_t seed, const struct model *earlier,
                                  struct model *extended)
{
    struct graph graph = {0};
    struct model made = {0};
    enum retort_status status = extend(&student->graph, adapters, count, &graph);
    if (status == RETORT_OK)
        status = model_create(&graph, &made);
    graph_release(&graph);
    if (status != RETORT_OK)
        return status;
    model_initialise(&made, seed);
    memcpy(made.mean, student->mean, sizeof(made.mean));
    memcpy(made.std, student->std, sizeof(made.std));
    copy_values(student, &made, false);
    if (earlier)
        copy_values(earlier, &made, true);
    *extended = made;
    return RETORT_OK;
}

void adapter_detach(const struct model *extended, struct model *student)
{
    copy_values(extended, student, false);
}
