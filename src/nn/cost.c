/* cost.c - what a network costs. */
#include "nn/cost.h"

#include "nn/op/op.h"

int64_t cost_node_parameters(const struct graph *graph, int node)
{
    const struct node *n = &graph->nodes[node];
    int64_t count = 0;
    for (int i = n->first_parameter; i < n->first_parameter + n->parameter_count; i++)
        if (parameter_trains(&graph->parameters[i]))
            count += (int64_t)parameter_count(&graph->parameters[i]);
    return count;
}

int64_t cost_node_macs(const struct graph *graph, int node)
{
    const struct node *n = &graph->nodes[node];
    const struct op *op = op_of(n->kind);
    struct shape inputs[OP_INPUTS];
    for (int i = 0; i < n->input_count; i++)
        inputs[i] = graph->nodes[n->inputs[i]].shape;
    return op->macs ? op->macs(n->attributes, inputs, n->shape) : 0;
}

int64_t cost_parameters(const struct graph *graph)
{
    int64_t count = 0;
    for (int i = 0; i < graph->node_count; i++)
        count += cost_node_parameters(graph, i);
    return count;
}

int64_t cost_macs(const struct graph *graph)
{
    int64_t count = 0;
    for (int i = 0; i < graph->node_count; i++)
        count += cost_node_macs(graph, i);
    return count;
}
