/* test_graph.c - operators' shapes and costs, the rules of a graph, graphs as JSON. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/cost.h"
#include "nn/op/op.h"

static void begin(struct graph *graph, struct shape input)
{
    assert_ok(graph_begin(graph, "test", input));
}

static int add(struct graph *graph, enum op_kind kind, const char *name, int input,
               const void *attributes)
{
    int node;
    assert_ok(graph_add(graph, kind, name, &input, 1, attributes, &node));
    return node;
}

/* ---- operators ---- */

#define ATTRIBUTES(type, ...) (&(const struct type##_attributes){__VA_ARGS__})

/* Every kind has a row here; the parameters as "name dims". */
struct op_case {
    enum op_kind kind;
    const void *attributes;
    struct shape input, output;
    const char *parameters;
    int64_t trained, macs;
};
static const struct op_case op_cases[] = {
    {OP_conv,
     ATTRIBUTES(conv, 6, 3, 2, 1, 1, true),
     {4, 7, 10},
     {6, 4, 5},
     "weight 6 4 3 3, bias 6, ",
     222,
     6 * 4 * 5 * 4 * 9},
    {OP_conv,
     ATTRIBUTES(conv, 6, 5, 1, 0, 2, false),
     {4, 5, 9},
     {6, 1, 5},
     "weight 6 2 5 5, ",
     300,
     6 * 5 * 2 * 25},
    {OP_conv,
     ATTRIBUTES(conv, 4, 3, 2, 1, 4, false),
     {4, 8, 8},
     {4, 4, 4},
     "weight 4 1 3 3, ",
     36,
     4 * 16 * 9},
    {OP_batch_norm,
     NULL,
     {5, 2, 3},
     {5, 2, 3},
     "weight 5, bias 5, running_mean 5, running_var 5, ",
     10,
     0},
    {OP_relu, NULL, {5, 2, 3}, {5, 2, 3}, "", 0, 0},
    {OP_add, NULL, {5, 2, 3}, {5, 2, 3}, "", 0, 0},
    {OP_max_pool, NULL, {3, 7, 8}, {3, 3, 4}, "", 0, 0},
    {OP_max_pool, ATTRIBUTES(max_pool, 3, 2), {3, 8, 9}, {3, 3, 4}, "", 0, 0},
    {OP_global_avg_pool, NULL, {3, 7, 8}, {3, 1, 1}, "", 0, 0},
    {OP_linear, ATTRIBUTES(linear, 10), {3, 4, 5}, {10, 1, 1}, "weight 10 60, bias 10, ", 610, 600},
    {OP_shortcut_a, ATTRIBUTES(shortcut_a, 9, 2), {5, 7, 8}, {9, 4, 4}, "", 0, 0},
    {OP_shortcut_a, ATTRIBUTES(shortcut_a, 5, 3), {5, 7, 8}, {5, 3, 3}, "", 0, 0},
    {OP_dropout, ATTRIBUTES(dropout, 0.25), {3, 7, 8}, {3, 7, 8}, "", 0, 0},
};

/* "weight 6 4 3 3, bias 6, ": what node 1's parameters are called after its name, and their sizes.
 */
static void list_parameters(const struct graph *graph, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < graph->parameter_count; i++) {
        const struct parameter *p = &graph->parameters[i];
        assert_int_equal(p->node, 1);
        assert_int_equal(strncmp(p->name, "stage1.x.", 9), 0);
        used += (size_t)snprintf(text + used, size - used, "%s", p->name + 9);
        for (int d = 0; d < p->rank; d++)
            used += (size_t)snprintf(text + used, size - used, " %d", p->dims[d]);
        used += (size_t)snprintf(text + used, size - used, ", ");
        if (p->role == PARAMETER_WEIGHT)
            assert_int_equal(p->fan_in * p->dims[0], parameter_count(p));
    }
}

static void every_operator_gives_its_shape_parameters_and_cost(void **state)
{
    bool seen[OP_COUNT] = {[OP_input] = true};
    for (size_t i = 0; i < sizeof(op_cases) / sizeof(op_cases[0]); i++) {
        const struct op_case *c = &op_cases[i];
        struct graph graph;
        char parameters[256];
        int node;
        begin(&graph, c->input);
        assert_ok(graph_add(&graph, c->kind, "stage1.x", (int[]){0, 0}, op_of(c->kind)->inputs,
                            c->attributes, &node));
        assert_int_equal(node, 1);
        const struct shape found = graph.nodes[1].shape;
        if (found.c != c->output.c || found.h != c->output.h || found.w != c->output.w)
            fail_msg("case %zu: %dx%dx%d found", i, found.c, found.h, found.w);
        list_parameters(&graph, parameters, sizeof(parameters));
        assert_string_equal(parameters, c->parameters);
        assert_int_equal(cost_node_parameters(&graph, 1), c->trained);
        assert_int_equal(cost_node_macs(&graph, 1), c->macs);
        seen[c->kind] = true;
        graph_release(&graph);
    }
    for (int i = 0; i < OP_COUNT; i++)
        assert_true(seen[i]);
}

static void an_operator_is_found_by_its_name(void **state)
{
    for (int i = 0; i < OP_COUNT; i++) {
        enum op_kind kind;
        const struct op *op = op_of((enum op_kind)i);
        assert_ptr_equal(op_find(op->name, &kind), op);
        assert_int_equal(kind, i);
    }
    enum op_kind kind;
    assert_null(op_find("softmax", &kind));
}

struct bad_node {
    enum op_kind kind;
    const void *attributes;
    int input_count, inputs[OP_INPUTS];
    const char *message;
};
/* On top of input (node 0, 4x6x6) and its global average (node 1, 4x1x1). */
static const struct bad_node bad_nodes[] = {
    {OP_conv, NULL, 1, {0}, "node x (conv): out_channels: 0 found"},
    {OP_conv, ATTRIBUTES(conv, 8, 3, 1, 1, 3, false), 1, {0}, "cannot be split into 3 groups"},
    {OP_conv, ATTRIBUTES(conv, 6, 3, 1, 1, 4, false), 1, {0}, "6 output channels cannot be split"},
    {OP_conv, ATTRIBUTES(conv, 8, 9, 1, 1, 1, false), 1, {0}, "6x6 is too small for a kernel of 9"},
    {OP_conv, ATTRIBUTES(conv, 8, 3, 0, 1, 1, false), 1, {0}, "stride: 0 found"},
    {OP_conv, ATTRIBUTES(conv, 8, 3, 1, -1, 1, false), 1, {0}, "pad: -1 found"},
    {OP_conv, ATTRIBUTES(conv, 65537, 3, 1, 1, 1, false), 1, {0}, "out_channels: 65537 found"},
    {OP_batch_norm, ATTRIBUTES(batch_norm, 0, 0.1), 1, {0}, "epsilon: 0 found"},
    {OP_batch_norm, ATTRIBUTES(batch_norm, 1e-5, 1.5), 1, {0}, "momentum: 1.5 found"},
    {OP_max_pool, NULL, 1, {1}, "1x1 is too small for windows of 2"},
    {OP_add, NULL, 2, {0, 1}, "maps of 4x6x6 and 4x1x1 cannot be added"},
    {OP_add, NULL, 1, {0}, "node x (add): 1 inputs found, 2 wanted"},
    {OP_relu, NULL, 2, {0, 0}, "2 inputs found, 1 wanted"},
    {OP_relu, NULL, 1, {2}, "input 2 found, a node before this one wanted (0 to 1)"},
    {OP_relu, NULL, 1, {-1}, "input -1 found"},
    {OP_linear, ATTRIBUTES(linear, 0), 1, {0}, "out_features: 0 found"},
    {OP_shortcut_a, ATTRIBUTES(shortcut_a, 7, 2), 1, {0}, "an even number of channels"},
    {OP_shortcut_a, ATTRIBUTES(shortcut_a, 2, 2), 1, {0}, "2 channels from 4"},
    {OP_dropout, ATTRIBUTES(dropout, 1), 1, {0}, "rate: 1 found"},
    {OP_input, NULL, 0, {0}, "a graph has one input"},
};

static void a_node_that_makes_no_sense_is_refused_and_changes_nothing(void **state)
{
    struct graph graph;
    begin(&graph, (struct shape){4, 6, 6});
    add(&graph, OP_global_avg_pool, "pool", 0, NULL);
    for (size_t i = 0; i < sizeof(bad_nodes) / sizeof(bad_nodes[0]); i++) {
        const struct bad_node *bad = &bad_nodes[i];
        int node = -7;
        assert_fails(graph_add(&graph, bad->kind, "x", bad->inputs, bad->input_count,
                               bad->attributes, &node),
                     RETORT_INVALID, bad->message);
        assert_int_equal(node, -7);
        assert_int_equal(graph.node_count, 2);
        assert_int_equal(graph.parameter_count, 0);
    }
    graph_release(&graph);
}

static void sizes_beyond_reason_are_refused(void **state)
{
    const struct conv_attributes wide = {65536, 1, 1, 0, 1, false};
    const struct linear_attributes large = {65536};
    struct graph graph;
    int node;
    assert_fails(graph_begin(&graph, "test", (struct shape){3, 0, 32}), RETORT_INVALID, "3x0x32");
    assert_fails(graph_begin(&graph, "test", (struct shape){3, 65537, 1}), RETORT_INVALID, "65537");
    assert_fails(graph_begin(&graph, "test", (struct shape){65536, 65536, 65536}), RETORT_INVALID,
                 "1073741824 numbers wanted");
    begin(&graph, (struct shape){1, 1024, 1024});
    assert_fails(graph_add(&graph, OP_conv, "x", (int[]){0}, 1, &wide, &node), RETORT_INVALID,
                 "node x (conv): a map of 65536x1024x1024");
    assert_fails(graph_add(&graph, OP_linear, "x", (int[]){0}, 1, &large, &node), RETORT_INVALID,
                 "parameter x.weight: more than");
    graph_release(&graph);
    /* Three parameters, each allowed, of 2^31 and 2^28 numbers together. */
    begin(&graph, (struct shape){1, 128, 128});
    node = add(&graph, OP_linear, "a", 0, ATTRIBUTES(linear, 65535));
    node = add(&graph, OP_linear, "b", node, ATTRIBUTES(linear, 16383));
    add(&graph, OP_linear, "c", node, ATTRIBUTES(linear, 16384));
    assert_fails(graph_finish(&graph), RETORT_INVALID, "numbers in all parameters found");
    graph_release(&graph);
}

/* ---- rules of a graph ---- */

static void names_are_unique_and_plain(void **state)
{
    char longest[122];
    struct graph graph;
    int node;
    begin(&graph, (struct shape){3, 8, 8});
    node = add(&graph, OP_relu, "a", 0, NULL);
    assert_fails(graph_add(&graph, OP_relu, "a", &node, 1, NULL, &node), RETORT_INVALID,
                 "node a: there are two");
    assert_fails(graph_add(&graph, OP_relu, "input", &node, 1, NULL, &node), RETORT_INVALID,
                 "there are two");
    assert_fails(graph_add(&graph, OP_relu, "", &node, 1, NULL, &node), RETORT_INVALID,
                 "node name \"\" found, 1 to 120 letters");
    assert_fails(graph_add(&graph, OP_relu, "a */ b", &node, 1, NULL, &node), RETORT_INVALID,
                 "node name \"a */ b\" found");
    memset(longest, 'n', 121);
    longest[121] = '\0';
    assert_fails(graph_add(&graph, OP_relu, longest, &node, 1, NULL, &node), RETORT_INVALID,
                 "node name");
    longest[120] = '\0';
    add(&graph, OP_relu, longest, node, NULL);
    assert_fails(graph_tap(&graph, "t\n", node), RETORT_INVALID, "tap name");
    graph_release(&graph);
    assert_fails(graph_begin(&graph, "resnet\"", (struct shape){3, 8, 8}), RETORT_INVALID,
                 "network \"resnet\"\"");
}

static void taps_stand_in_the_order_of_the_network(void **state)
{
    struct graph graph;
    int node;
    begin(&graph, (struct shape){3, 8, 6});
    node = add(&graph, OP_relu, "a", 0, NULL);
    add(&graph, OP_max_pool, "b", node, NULL);
    assert_ok(graph_tap(&graph, "late", 2));
    assert_ok(graph_tap(&graph, "twin", 1));
    assert_ok(graph_tap(&graph, "early", 1));
    assert_int_equal(graph_find_tap(&graph, "early"), 0);
    assert_int_equal(graph_find_tap(&graph, "twin"), 1);
    assert_int_equal(graph_find_tap(&graph, "late"), 2);
    assert_int_equal(graph_find_tap(&graph, "none"), -1);
    assert_int_equal(graph_tap_shape(&graph, 2).w, 3);
    assert_fails(graph_tap(&graph, "late", 1), RETORT_INVALID, "tap late: there are two");
    assert_fails(graph_tap(&graph, "x", 0), RETORT_INVALID, "node 0 found, 1 to 2 wanted");
    assert_fails(graph_tap(&graph, "x", 3), RETORT_INVALID, "node 3 found, 1 to 2 wanted");
    graph_release(&graph);
}

static void a_graph_ends_in_a_linear_layer_and_uses_every_node(void **state)
{
    struct graph graph;
    int node;
    begin(&graph, (struct shape){3, 8, 8});
    assert_fails(graph_finish(&graph), RETORT_INVALID, "the last node is input");
    node = add(&graph, OP_relu, "lost", 0, NULL);
    assert_fails(graph_finish(&graph), RETORT_INVALID, "the last node is lost (relu)");
    node = add(&graph, OP_linear, "fc", 0, ATTRIBUTES(linear, 4));
    assert_fails(graph_finish(&graph), RETORT_INVALID, "nobody reads the output of node lost");
    node = add(&graph, OP_linear, "fc2", node, ATTRIBUTES(linear, 4));
    graph_release(&graph);
    begin(&graph, (struct shape){3, 8, 8});
    add(&graph, OP_linear, "fc", 0, ATTRIBUTES(linear, 4));
    assert_ok(graph_finish(&graph));
    assert_int_equal(graph.classes, 4);
    assert_int_equal(graph_find_parameter(&graph, "fc.bias"), 1);
    assert_int_equal(graph_find_parameter(&graph, "fc"), -1);
    graph_release(&graph);
    graph_release(&graph); /* a released graph is a zeroed one */
}

/* ---- JSON ---- */

static const char good[] =
    "{'network': 'test', 'input': [3, 8, 8], 'nodes': ["
    "{'op': 'conv', 'name': 'c1', 'inputs': [0], 'attributes': {'out_channels': 4, 'kernel': 3,"
    " 'stride': 1, 'pad': 1, 'groups': 1, 'bias': true}},"
    "{'op': 'batch_norm', 'name': 'n1', 'inputs': [1],"
    " 'attributes': {'epsilon': 0.001, 'momentum': 0.2}},"
    "{'op': 'relu', 'name': 'r1', 'inputs': [2]},"
    "{'op': 'shortcut_a', 'name': 's1', 'inputs': [0],"
    " 'attributes': {'out_channels': 5, 'stride': 1}},"
    "{'op': 'conv', 'name': 'c2', 'inputs': [3], 'attributes': {'out_channels': 5, 'kernel': 1}},"
    "{'op': 'add', 'name': 'a1', 'inputs': [4, 5]},"
    "{'op': 'max_pool', 'name': 'p1', 'inputs': [6], 'attributes': {}},"
    "{'op': 'linear', 'name': 'fc', 'inputs': [7], 'attributes': {'out_features': 7}}],"
    "'taps': {'z': 3, 'a': 6}}";

/* Text with ' for ", and `old` replaced by `new` where given. */
static json_t *parse(const char *text, const char *old, const char *new)
{
    char edited[4096];
    const char *at = old ? strstr(text, old) : NULL;
    if (old && !at)
        fail_msg("\"%s\" is not in the text", old);
    size_t head = at ? (size_t)(at - text) : 0;
    snprintf(edited, sizeof(edited), "%.*s%s%s", (int)head, text, at ? new : "",
             text + head + (at ? strlen(old) : 0));
    for (char *c = edited; *c; c++)
        if (*c == '\'')
            *c = '"';
    json_t *json = json_loads(edited, 0, NULL);
    if (!json)
        fail_msg("no JSON: %s", edited);
    return json;
}

static void a_graph_comes_back_from_json_as_it_was(void **state)
{
    struct graph graph, again;
    json_t *json = parse(good, NULL, NULL);
    assert_ok(graph_from_json(json, "here", &graph));
    json_decref(json);
    assert_int_equal(graph.node_count, 9);
    assert_int_equal(graph.classes, 7);
    const struct conv_attributes *conv = graph.nodes[1].attributes;
    assert_true(conv->bias && conv->pad == 1 && conv->out_channels == 4);
    const struct batch_norm_attributes *norm = graph.nodes[2].attributes;
    assert_true(norm->epsilon == 0.001 && norm->momentum == 0.2);
    assert_int_equal(graph_find_parameter(&graph, "n1.running_var"), 5);
    json = graph_json(&graph);
    assert_non_null(json);
    assert_ok(graph_from_json(json, "here", &again));
    json_t *twice = graph_json(&again);
    assert_true(json_equal(json, twice));
    assert_int_equal(again.parameter_count, graph.parameter_count);
    assert_int_equal(graph_find_tap(&again, "z"), 0);
    assert_int_equal(graph_find_tap(&again, "a"), 1);
    json_decref(json);
    json_decref(twice);
    graph_release(&graph);
    graph_release(&again);
}

struct bad_json {
    const char *old, *new, *message;
};
static const struct bad_json bad_json[] = {
    {"'network': 'test'", "'network': 5", "here: graph: an object of network"},
    {"'network': 'test'", "'network': 'a\\tb'", "here: graph: network \""},
    {"'network': 'test'", "'net': 'test'", "here: graph: an object of network"},
    {"'network': 'test'", "'network': 'test', 'more': 1", "here: graph: an object of network"},
    {"[3, 8, 8]", "[3, 8]", "here: graph: input: a list of 3 to 3 whole numbers"},
    {"[3, 8, 8]", "[3, 8, 0.5]", "input: a list of 3"},
    {"[3, 8, 8]", "[3, 8, -8]", "input: a list of 3"},
    {"[3, 8, 8]", "[3, 8, 0]", "3x8x0"},
    {"[3, 8, 8]", "[3, 8, 99999999999]", "input: a list of 3"},
    {"'nodes': [", "'nodes': [7,", "nodes[0]: an object of op"},
    {"'op': 'relu'", "'op': 'gelu'", "nodes[2]: node r1: unknown operator gelu"},
    {"'op': 'relu'", "'op': 'input'", "nodes[2]: node r1 (input): 1 inputs found, 0 wanted"},
    {"'op': 'relu'", "'op': null", "nodes[2]: an object of op"},
    {"'op': 'relu'", "'op': 'relu', 'more': 1", "nodes[2]: an object of op"},
    {"'name': 'r1'", "'name': 'n1'", "nodes[2]: node n1: there are two"},
    {"'name': 'r1'", "'name': ''", "nodes[2]: node name"},
    {"'name': 'r1'", "'name': ['r1']", "nodes[2]: an object of op"},
    {"'inputs': [2]", "'inputs': 2", "nodes[2]: inputs: a list"},
    {"'inputs': [2]", "'inputs': []", "nodes[2]: inputs: a list"},
    {"'inputs': [2]", "'inputs': [2, 2]", "nodes[2]: node r1 (relu): 2 inputs found"},
    {"'inputs': [2]", "'inputs': [3]", "nodes[2]: node r1 (relu): input 3 found"},
    {"'inputs': [2]", "'inputs': [8]", "nodes[2]: node r1 (relu): input 8 found"},
    {"'inputs': [2]", "'inputs': [-1]", "nodes[2]: inputs: a list"},
    {"'inputs': [2]", "'inputs': [2], 'attributes': {}", "node r1: attributes not wanted"},
    {", 'attributes': {}", "", "node p1: attributes missing"},
    {"'attributes': {}", "'attributes': []", "nodes[6]: p1"},
    {"'attributes': {}", "'attributes': {'size': 2}", "nodes[6]: p1: size: unknown setting"},
    {"'attributes': {}", "'attributes': {'kernel': '2'}", "nodes[6]: p1: kernel"},
    {"'attributes': {}", "'attributes': {'kernel': 65}", "nodes[6]: p1: kernel: 65 found"},
    {"'attributes': {}", "'attributes': {'kernel': 9}", "nodes[6]: node p1 (max_pool)"},
    {"'kernel': 3", "'kernel': 1e300", "nodes[0]: c1: kernel"},
    {"{'out_features': 7}", "{}", "nodes[7]: fc: out_features"},
    {"'epsilon': 0.001", "'epsilon': -1", "nodes[1]: n1: epsilon"},
    {"'groups': 1", "'groups': 2", "nodes[0]: node c1 (conv)"},
    {"'inputs': [4, 5]", "'inputs': [4, 4]", "here: graph: nobody reads the output of node c2"},
    {"{'z': 3, 'a': 6}", "['z', 'a']", "here: graph: taps: an object wanted"},
    {"{'z': 3, 'a': 6}", "{'z': 9}", "here: graph: tap z: node 9 found, 1 to 8 wanted"},
    {"{'z': 3, 'a': 6}", "{'z': -1}", "here: graph: tap z"},
    {"{'z': 3, 'a': 6}", "{'z': 4294967299}", "here: graph: tap z"},
    {"{'z': 3, 'a': 6}", "{'z': '3'}", "here: graph: tap z"},
    {"{'z': 3, 'a': 6}", "{'': 3}", "here: graph: tap name"},
};

static void json_that_is_no_graph_is_refused_with_its_place(void **state)
{
    for (size_t i = 0; i < sizeof(bad_json) / sizeof(bad_json[0]); i++) {
        struct graph graph;
        json_t *json = parse(good, bad_json[i].old, bad_json[i].new);
        assert_fails(graph_from_json(json, "here", &graph), RETORT_FORMAT, bad_json[i].message);
        json_decref(json);
    }
    struct graph graph;
    assert_fails(graph_from_json(NULL, "here", &graph), RETORT_FORMAT, "here: graph: an object of");
}

static void a_graph_holds_at_most_4096_nodes(void **state)
{
    struct graph graph;
    json_t *json = parse(good, NULL, NULL), *nodes = json_object_get(json, "nodes");
    char name[16];
    while (json_array_size(nodes) < GRAPH_MOST_NODES) {
        int last = (int)json_array_size(nodes);
        snprintf(name, sizeof(name), "n%d", last);
        json_array_append_new(
            nodes, json_pack("{s:s, s:s, s:[i]}", "op", "relu", "name", name, "inputs", last));
    }
    assert_fails(graph_from_json(json, "here", &graph), RETORT_FORMAT,
                 "a graph holds at most 4096 nodes");
    json_array_append_new(nodes, json_null());
    assert_fails(graph_from_json(json, "here", &graph), RETORT_FORMAT, "4097 nodes found");
    json_decref(json);
}

/* ---- every single wrong value, and memory that runs out ---- */

static void read_anything(const json_t *json)
{
    struct graph graph;
    enum retort_status status = graph_from_json(json, "here", &graph);
    if (status == RETORT_OK)
        graph_release(&graph);
    else if (status != RETORT_FORMAT || strncmp(retort_message(), "here: graph: ", 13) != 0)
        fail_msg("status %d: %s", status, retort_message());
}

/* Put each of these in each place of the tree, one at a time. */
static void replace_each(const json_t *root, json_t *tree)
{
    static const char *const wrong[] = {
        "null",       "true", "-1",  "0",    "1",     "2",  "65536", "4294967297", "-2147483648",
        "2147483647", "1e99", "1.5", "\"\"", "\"x\"", "[]", "[0]",   "{}",         "{\"a\": 1}"};
    json_t *child;
    const char *key;
    void *next;
    size_t index;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        json_object_foreach_safe(tree, next, key, child)
        {
            json_incref(child);
            json_object_set_new(tree, key, json_loads(wrong[i], JSON_DECODE_ANY, NULL));
            read_anything(root);
            json_object_set_new(tree, key, child);
        }
        json_array_foreach(tree, index, child)
        {
            json_incref(child);
            json_array_set_new(tree, index, json_loads(wrong[i], JSON_DECODE_ANY, NULL));
            read_anything(root);
            json_array_set_new(tree, index, child);
        }
    }
    json_object_foreach(tree, key, child) replace_each(root, child);
    json_array_foreach(tree, index, child) replace_each(root, child);
}

static void no_single_wrong_value_breaks_the_reader(void **state)
{
    json_t *json = parse(good, NULL, NULL);
    replace_each(json, json);
    json_decref(json);
}

static long allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void writing_json_survives_memory_that_runs_out(void **state)
{
    struct graph graph;
    json_t *json = parse(good, NULL, NULL), *found = NULL;
    assert_ok(graph_from_json(json, "here", &graph));
    json_decref(json);
    json_set_alloc_funcs(failing_malloc, free);
    for (long k = 0; !found; k++) {
        allocations_left = k;
        found = graph_json(&graph);
        assert_true(k < 10000);
    }
    json_decref(found);
    json_set_alloc_funcs(malloc, free);
    graph_release(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_gives_its_shape_parameters_and_cost),
        cmocka_unit_test(an_operator_is_found_by_its_name),
        cmocka_unit_test(a_node_that_makes_no_sense_is_refused_and_changes_nothing),
        cmocka_unit_test(sizes_beyond_reason_are_refused),
        cmocka_unit_test(names_are_unique_and_plain),
        cmocka_unit_test(taps_stand_in_the_order_of_the_network),
        cmocka_unit_test(a_graph_ends_in_a_linear_layer_and_uses_every_node),
        cmocka_unit_test(a_graph_comes_back_from_json_as_it_was),
        cmocka_unit_test(json_that_is_no_graph_is_refused_with_its_place),
        cmocka_unit_test(a_graph_holds_at_most_4096_nodes),
        cmocka_unit_test(no_single_wrong_value_breaks_the_reader),
        cmocka_unit_test(writing_json_survives_memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
