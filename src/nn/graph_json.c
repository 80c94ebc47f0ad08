/* graph_json.c - graphs as JSON, for model files.
 *
 * Reading goes through graph_begin, graph_add and graph_tap, so a file can say nothing that a
 * program could not; what comes from a file is reported as RETORT_FORMAT. */
#include "nn/graph.h"
#include "nn/op/op.h"

/* ---- writing ---- */

static json_t *numbers(const int *items, int count)
{
    json_t *list = json_array();
    for (int i = 0; list && i < count; i++)
        if (json_array_append_new(list, json_integer(items[i]))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *node_json(const struct node *node)
{
    const struct op *op = op_of(node->kind);
    json_t *object = json_pack("{s:s, s:s, s:o}", "op", op->name, "name", node->name, "inputs",
                               numbers(node->inputs, node->input_count));
    if (object && op->attributes &&
        json_object_set_new(object, "attributes",
                            settings_json(op->attributes, node->attributes))) {
        json_decref(object);
        return NULL;
    }
    return object;
}

json_t *graph_json(const struct graph *graph)
{
    json_t *nodes = json_array(), *taps = json_object();
    int failed = !nodes || !taps;
    for (int i = 1; i < graph->node_count && !failed; i++)
        failed = json_array_append_new(nodes, node_json(&graph->nodes[i]));
    for (int i = 0; i < graph->tap_count && !failed; i++)
        failed = json_object_set_new(taps, graph->taps[i].name, json_integer(graph->taps[i].node));
    if (failed) {
        json_decref(nodes);
        json_decref(taps);
        return NULL;
    }
    const int input[] = {graph->input.c, graph->input.h, graph->input.w};
    return json_pack("{s:s, s:o, s:o, s:o}", "network", graph->network, "input", numbers(input, 3),
                     "nodes", nodes, "taps", taps);
}

/* ---- reading ---- */

static enum retort_status read_numbers(const json_t *list, const char *what, int least, int most,
                                       int *items, int *count)
{
    int size = (int)json_array_size(list);
    if (!json_is_array(list) || size < least || size > most)
        return fail(RETORT_FORMAT, "%s: a list of %d to %d whole numbers wanted", what, least,
                    most);
    for (int i = 0; i < size; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        json_int_t value = json_integer_value(item);
        if (!json_is_integer(item) || value < 0 || value > 1 << 30)
            return fail(RETORT_FORMAT, "%s: a list of %d to %d whole numbers wanted", what, least,
                        most);
        items[i] = (int)value;
    }
    *count = size;
    return RETORT_OK;
}

static enum retort_status read_node(const json_t *object, struct graph *graph)
{
    const char *kind_name = json_string_value(json_object_get(object, "op"));
    const char *name = json_string_value(json_object_get(object, "name"));
    const json_t *attributes = json_object_get(object, "attributes");
    int inputs[OP_INPUTS], count, node;
    enum op_kind kind;
    if (!kind_name || !name || json_object_size(object) != (attributes ? 4 : 3))
        return fail(RETORT_FORMAT, "an object of op, name, inputs and attributes wanted");
    const struct op *op = op_find(kind_name, &kind);
    if (!op)
        return fail(RETORT_FORMAT, "node %.100s: unknown operator %.100s", name, kind_name);
    TRY(read_numbers(json_object_get(object, "inputs"), "inputs", 1, OP_INPUTS, inputs, &count));
    if (!op->attributes != !attributes)
        return fail(RETORT_FORMAT, "node %.100s: attributes %s", name,
                    attributes ? "not wanted" : "missing");
    void *values = NULL;
    if (op->attributes) {
        TRY(arena_take(&graph->arena, op->attributes->bytes, &values));
        TRY(settings_from_json(op->attributes, values, name, attributes, &graph->arena));
    }
    return graph_add(graph, kind, name, inputs, count, values, &node);
}

static enum retort_status read_taps(const json_t *taps, struct graph *graph)
{
    const char *name;
    json_t *node;
    if (!json_is_object(taps))
        return fail(RETORT_FORMAT, "taps: an object wanted");
    json_object_foreach((json_t *)taps, name, node)
    {
        json_int_t number = json_integer_value(node);
        if (!json_is_integer(node) || number < 0 || number > GRAPH_MOST_NODES)
            return fail(RETORT_FORMAT, "tap %.100s: the number of a node wanted", name);
        TRY(graph_tap(graph, name, (int)number));
    }
    return RETORT_OK;
}

static enum retort_status read_graph(const json_t *object, struct graph *graph)
{
    const char *network = json_string_value(json_object_get(object, "network"));
    const json_t *nodes = json_object_get(object, "nodes");
    int input[3], count;
    if (!network || !json_is_array(nodes) || json_object_size(object) != 4)
        return fail(RETORT_FORMAT, "an object of network, input, nodes and taps wanted");
    if (json_array_size(nodes) > GRAPH_MOST_NODES)
        return fail(RETORT_FORMAT, "%zu nodes found, at most %d wanted", json_array_size(nodes),
                    GRAPH_MOST_NODES);
    TRY(read_numbers(json_object_get(object, "input"), "input", 3, 3, input, &count));
    TRY(graph_begin(graph, network, (struct shape){input[0], input[1], input[2]}));
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        enum retort_status status = read_node(json_array_get(nodes, i), graph);
        if (status != RETORT_OK)
            return fail_in(status, "nodes[%zu]", i);
    }
    TRY(read_taps(json_object_get(object, "taps"), graph));
    return graph_finish(graph);
}

enum retort_status graph_from_json(const json_t *object, const char *where, struct graph *graph)
{
    struct graph made = {0};
    enum retort_status status = read_graph(object, &made);
    if (status == RETORT_OK) {
        *graph = made;
        return RETORT_OK;
    }
    graph_release(&made);
    return fail_in(status == RETORT_MEMORY ? status : RETORT_FORMAT, "%s: graph", where);
}
