/* graph.c - nodes are appended, checked as they come, and never changed. */
#include "nn/graph.h"

#include <assert.h>
#include <string.h>

#include "nn/op/op.h"

/* Limits that no real network meets and that keep hostile files from overflowing anything: a map's
 * positions times all parameters, 2^61, bound every count of multiply-accumulates. */
enum {
    MOST_NODES = GRAPH_MOST_NODES,
    MOST_PARAMETERS = OP_PARAMETERS * MOST_NODES,
    MOST_TAPS = 256,
    LARGEST_SIDE = 65536,
    LONGEST_NAME = 120,
    LONGEST_NETWORK = 400
};
#define LARGEST_MAP       (INT64_C(1) << 30)
#define LARGEST_PARAMETER ((size_t)1 << 30)
#define LARGEST_TOTAL     ((size_t)1 << 31)

/* Names go into files, generated source and messages as they are: letters, digits and `marks`. */
static enum retort_status check_name(const char *what, const char *name, const char *marks,
                                     size_t longest)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t length = strnlen(name, longest + 1), good = 0;
    while (name[good] && good < length && (strchr(plain, name[good]) || strchr(marks, name[good])))
        good++;
    if (length == 0 || length > longest || good < length)
        return fail(RETORT_INVALID,
                    "%s \"%.40s\" found, 1 to %zu letters, digits and \"%s\" wanted", what, name,
                    longest, marks);
    return RETORT_OK;
}

static enum retort_status check_shape(struct shape shape)
{
    if (shape.c < 1 || shape.h < 1 || shape.w < 1)
        return fail(RETORT_INVALID, "a map of %dx%dx%d found, at least 1x1x1 wanted", shape.c,
                    shape.h, shape.w);
    if (shape.c > LARGEST_SIDE || shape.h > LARGEST_SIDE || shape.w > LARGEST_SIDE ||
        (int64_t)shape.c * shape.h > LARGEST_MAP / shape.w)
        return fail(RETORT_INVALID, "a map of %dx%dx%d found, sides to %d and %lld numbers wanted",
                    shape.c, shape.h, shape.w, LARGEST_SIDE, (long long)LARGEST_MAP);
    return RETORT_OK;
}

static enum retort_status out_of_memory(void)
{
    return fail(RETORT_MEMORY, "out of memory for a graph");
}

enum retort_status graph_begin(struct graph *graph, const char *network, struct shape input)
{
    struct graph made = {.input = input};
    TRY(check_name("network", network, " :=,.-_+[]", LONGEST_NETWORK));
    enum retort_status status = check_shape(input);
    if (status != RETORT_OK)
        return fail_in(status, "input");
    made.network = arena_text(&made.arena, network);
    made.nodes = arena_get(&made.arena, MOST_NODES * sizeof(*made.nodes));
    made.parameters = arena_get(&made.arena, MOST_PARAMETERS * sizeof(*made.parameters));
    made.taps = arena_get(&made.arena, MOST_TAPS * sizeof(*made.taps));
    if (!made.network || !made.nodes || !made.parameters || !made.taps) {
        arena_release(&made.arena);
        return out_of_memory();
    }
    made.nodes[0] = (struct node){.kind = OP_input, .name = "input", .shape = input};
    made.node_count = 1;
    *graph = made;
    return RETORT_OK;
}

/* ---- adding a node ---- */

static enum retort_status add_parameters(struct graph *graph, struct node *node,
                                         const struct shape *inputs)
{
    const struct op *op = op_of(node->kind);
    struct parameter_spec specs[OP_PARAMETERS];
    node->first_parameter = graph->parameter_count;
    if (!op->parameters)
        return RETORT_OK;
    int count = op->parameters(node->attributes, inputs, specs);
    for (int i = 0; i < count; i++) {
        struct parameter made = {
            .name = arena_format(&graph->arena, "%s.%s", node->name, specs[i].suffix),
            .role = specs[i].role,
            .rank = specs[i].rank,
            .node = graph->node_count,
            .fan_in = specs[i].fan_in};
        if (!made.name)
            return out_of_memory();
        if (graph_find_parameter(graph, made.name) >= 0)
            return fail(RETORT_INVALID, "there are two parameters %s", made.name);
        size_t numbers = 1;
        for (int d = 0; d < made.rank; d++) {
            made.dims[d] = specs[i].dims[d];
            numbers *= (size_t)made.dims[d];
            if (numbers > LARGEST_PARAMETER)
                return fail(RETORT_INVALID, "parameter %s: more than %zu numbers", made.name,
                            LARGEST_PARAMETER);
        }
        graph->parameters[graph->parameter_count + i] = made;
    }
    node->parameter_count = count;
    return RETORT_OK;
}

static enum retort_status copy_attributes(struct graph *graph, const struct op *op,
                                          const void *attributes, const void **copy)
{
    void *made = NULL;
    if (op->attributes) {
        TRY(arena_take(&graph->arena, op->attributes->bytes, &made));
        if (attributes)
            memcpy(made, attributes, op->attributes->bytes);
        else
            TRY(settings_defaults(op->attributes, made, &graph->arena));
        TRY(settings_check(op->attributes, made, NULL));
    }
    *copy = made;
    return RETORT_OK;
}

static enum retort_status fill_node(struct graph *graph, struct node *node, const int *inputs,
                                    const void *attributes)
{
    const struct op *op = op_of(node->kind);
    struct shape shapes[OP_INPUTS];
    if (node->input_count != op->inputs)
        return fail(RETORT_INVALID, "%d inputs found, %d wanted", node->input_count, op->inputs);
    for (int i = 0; i < node->input_count; i++) {
        if (inputs[i] < 0 || inputs[i] >= graph->node_count)
            return fail(RETORT_INVALID, "input %d found, a node before this one wanted (0 to %d)",
                        inputs[i], graph->node_count - 1);
        node->inputs[i] = inputs[i];
        shapes[i] = graph->nodes[inputs[i]].shape;
    }
    TRY(copy_attributes(graph, op, attributes, &node->attributes));
    TRY(op->infer(node->attributes, shapes, &node->shape));
    TRY(check_shape(node->shape));
    return add_parameters(graph, node, shapes);
}

enum retort_status graph_add(struct graph *graph, enum op_kind kind, const char *name,
                             const int *inputs, int input_count, const void *attributes, int *node)
{
    struct node made = {.kind = kind, .input_count = input_count};
    assert(!graph->finished);
    TRY(check_name("node name", name, "._-", LONGEST_NAME));
    if (graph->node_count == MOST_NODES)
        return fail(RETORT_INVALID, "%s: a graph holds at most %d nodes", name, MOST_NODES);
    for (int i = 0; i < graph->node_count; i++)
        if (strcmp(graph->nodes[i].name, name) == 0)
            return fail(RETORT_INVALID, "node %s: there are two of this name", name);
    made.name = arena_text(&graph->arena, name);
    if (!made.name)
        return out_of_memory();
    enum retort_status status = fill_node(graph, &made, inputs, attributes);
    if (status != RETORT_OK)
        return fail_in(status, "node %s (%s)", name, op_of(kind)->name);
    graph->parameter_count += made.parameter_count;
    graph->nodes[graph->node_count] = made;
    *node = graph->node_count++;
    return RETORT_OK;
}

/* Order of the network; by name where two taps share a node. */
static bool tap_precedes(const struct tap *a, const struct tap *b)
{
    return a->node != b->node ? a->node < b->node : strcmp(a->name, b->name) < 0;
}

enum retort_status graph_tap(struct graph *graph, const char *name, int node)
{
    assert(!graph->finished);
    TRY(check_name("tap name", name, "._-", LONGEST_NAME));
    if (node < 1 || node >= graph->node_count)
        return fail(RETORT_INVALID, "tap %s: node %d found, 1 to %d wanted", name, node,
                    graph->node_count - 1);
    if (graph_find_tap(graph, name) >= 0)
        return fail(RETORT_INVALID, "tap %s: there are two of this name", name);
    if (graph->tap_count == MOST_TAPS)
        return fail(RETORT_INVALID, "tap %s: a graph holds at most %d taps", name, MOST_TAPS);
    char *copy = arena_text(&graph->arena, name);
    if (!copy)
        return out_of_memory();
    const struct tap made = {copy, node};
    int at = graph->tap_count++;
    for (; at > 0 && tap_precedes(&made, &graph->taps[at - 1]); at--)
        graph->taps[at] = graph->taps[at - 1];
    graph->taps[at] = made;
    return RETORT_OK;
}

static bool is_read(const struct graph *graph, int node)
{
    for (int i = 0; i < graph->tap_count; i++)
        if (graph->taps[i].node == node)
            return true;
    for (int i = node + 1; i < graph->node_count; i++)
        for (int k = 0; k < graph->nodes[i].input_count; k++)
            if (graph->nodes[i].inputs[k] == node)
                return true;
    return false;
}

enum retort_status graph_finish(struct graph *graph)
{
    const struct node *last = &graph->nodes[graph->node_count - 1];
    size_t numbers = 0;
    if (last->kind != OP_linear)
        return fail(RETORT_INVALID, "the last node is %s (%s), a linear layer is wanted",
                    last->name, op_of(last->kind)->name);
    for (int i = 0; i + 1 < graph->node_count; i++)
        if (!is_read(graph, i))
            return fail(RETORT_INVALID, "nobody reads the output of node %s", graph->nodes[i].name);
    for (int i = 0; i < graph->parameter_count; i++)
        numbers += parameter_count(&graph->parameters[i]);
    if (numbers > LARGEST_TOTAL)
        return fail(RETORT_INVALID, "%zu numbers in all parameters found, at most %zu wanted",
                    numbers, LARGEST_TOTAL);
    graph->classes = last->shape.c;
    graph->finished = true;
    return RETORT_OK;
}

void graph_release(struct graph *graph)
{
    arena_release(&graph->arena);
    *graph = (struct graph){0};
}

/* ---- reading ---- */

int graph_find_tap(const struct graph *graph, const char *name)
{
    for (int i = 0; i < graph->tap_count; i++)
        if (strcmp(graph->taps[i].name, name) == 0)
            return i;
    return -1;
}

struct shape graph_tap_shape(const struct graph *graph, int tap)
{
    return graph->nodes[graph->taps[tap].node].shape;
}

int graph_find_parameter(const struct graph *graph, const char *name)
{
    for (int i = 0; i < graph->parameter_count; i++)
        if (strcmp(graph->parameters[i].name, name) == 0)
            return i;
    return -1;
}

size_t parameter_count(const struct parameter *parameter)
{
    size_t count = 1;
    for (int i = 0; i < parameter->rank; i++)
        count *= (size_t)parameter->dims[i];
    return count;
}

bool parameter_trains(const struct parameter *parameter)
{
    return parameter->role != PARAMETER_RUNNING_MEAN && parameter->role != PARAMETER_RUNNING_VAR;
}
