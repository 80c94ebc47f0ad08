/* fuse.c - which nodes run together.
 *
 *   training    batch norm (+ add) (+ ReLU); convolution + ReLU; linear + ReLU
 *   inference   convolution + batch norm (+ add) (+ ReLU); linear + ReLU; dropout vanishes
 *
 * A node can be swallowed by the one before it when nobody else reads what lies between: one
 * consumer, no tap that the caller asked for, not the logits. A unit runs when its last node would,
 * so the other input of an add that it swallowed is there by then. Where both could swallow it, the
 * one made last does. */
#include "nn/engine/builder.h"

struct fusing {
    const struct graph *graph;
    bool trains;
    int *consumers; /* how many read a node; taps and the logits count as one more */
    int *next;      /* one consumer of each node */
};

static enum retort_status count_consumers(const struct graph *graph,
                                          const struct executor_options *options,
                                          struct arena *arena, struct fusing *f)
{
    f->graph = graph;
    f->trains = options->mode == EXECUTOR_TRAIN;
    TRY(arena_take(arena, (size_t)graph->node_count * sizeof(int), (void **)&f->consumers));
    TRY(arena_take(arena, (size_t)graph->node_count * sizeof(int), (void **)&f->next));
    for (int i = 0; i < graph->node_count; i++)
        for (int j = 0; j < graph->nodes[i].input_count; j++) {
            f->consumers[graph->nodes[i].inputs[j]]++;
            f->next[graph->nodes[i].inputs[j]] = i;
        }
    for (int i = 0; i < options->tap_count; i++)
        f->consumers[graph->taps[options->taps[i]].node]++;
    f->consumers[graph->node_count - 1]++;
    return RETORT_OK;
}

/* The only consumer of `node` if it is of this kind, else -1. */
static int only_consumer(const struct fusing *f, int node, enum op_kind kind)
{
    if (f->consumers[node] != 1 || f->graph->nodes[f->next[node]].kind != kind)
        return -1;
    return f->next[node];
}

/* Can the unit that this node ends swallow an add? */
static bool takes_add(const struct fusing *f, int node)
{
    const enum op_kind kind = f->graph->nodes[node].kind;
    return kind == OP_batch_norm || (kind == OP_conv && !f->trains);
}

static void take_add(const struct fusing *f, struct unit *unit)
{
    int add = only_consumer(f, unit->output, OP_add);
    if (add < 0 || !takes_add(f, unit->output))
        return;
    const int *inputs = f->graph->nodes[add].inputs;
    int other = inputs[0] == unit->output ? inputs[1] : inputs[0];
    if (other > unit->output && takes_add(f, other) && only_consumer(f, other, OP_add) == add)
        return;
    unit->add = unit->output = add;
    unit->residual = other;
}

static void take_relu(const struct fusing *f, struct unit *unit)
{
    int relu = only_consumer(f, unit->output, OP_relu);
    if (relu >= 0)
        unit->relu = unit->output = relu;
}

static struct unit make_unit(const struct fusing *f, int node)
{
    struct unit unit = {node, -1, -1, -1, -1, node};
    switch (f->graph->nodes[node].kind) {
    case OP_conv:
        if (!f->trains)
            unit.batch_norm = only_consumer(f, node, OP_batch_norm);
        if (unit.batch_norm >= 0)
            unit.output = unit.batch_norm;
        take_add(f, &unit);
        take_relu(f, &unit);
        break;
    case OP_batch_norm:
        take_add(f, &unit);
        take_relu(f, &unit);
        break;
    case OP_linear:
        take_relu(f, &unit);
        break;
    default:
        break;
    }
    return unit;
}

enum retort_status fuse(const struct graph *graph, const struct executor_options *options,
                        struct arena *arena, struct unit **units, int *count)
{
    struct fusing f = {0};
    struct unit *found, *ordered;
    int *unit_of_output;
    bool *swallowed;
    size_t nodes = (size_t)graph->node_count;
    TRY(count_consumers(graph, options, arena, &f));
    TRY(arena_take(arena, nodes * sizeof(*found), (void **)&found));
    TRY(arena_take(arena, nodes * sizeof(*ordered), (void **)&ordered));
    TRY(arena_take(arena, nodes * sizeof(*unit_of_output), (void **)&unit_of_output));
    TRY(arena_take(arena, nodes * sizeof(*swallowed), (void **)&swallowed));
    for (int i = 0; i < graph->node_count; i++) {
        unit_of_output[i] = -1;
        if (swallowed[i])
            continue;
        found[i] = make_unit(&f, i);
        const int inside[] = {found[i].batch_norm, found[i].add, found[i].relu};
        for (int j = 0; j < 3; j++)
            if (inside[j] >= 0)
                swallowed[inside[j]] = true;
    }
    for (int i = 0; i < graph->node_count; i++)
        if (!swallowed[i])
            unit_of_output[found[i].output] = i;
    int made = 0;
    for (int i = 0; i < graph->node_count; i++)
        if (unit_of_output[i] >= 0)
            ordered[made++] = found[unit_of_output[i]];
    *units = ordered;
    *count = made;
    return RETORT_OK;
}
