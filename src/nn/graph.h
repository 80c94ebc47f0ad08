/* graph.h - what a network is: nodes in topological order, shapes without the batch, named taps.
 *
 * A zoo builder makes a graph through graph_add; from graph_finish on it is immutable. Cost,
 * execution, model files and export read it; none of them knows a family's name. Every kind of node
 * is one file in op/ and one line in OP_KINDS. */
#ifndef NN_GRAPH_H
#define NN_GRAPH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/settings.h"
#include "base/status.h"

#define OP_KINDS(X)                                                                                \
    X(input)                                                                                       \
    X(conv)                                                                                        \
    X(batch_norm)                                                                                  \
    X(relu)                                                                                        \
    X(add)                                                                                         \
    X(max_pool)                                                                                    \
    X(global_avg_pool)                                                                             \
    X(linear)                                                                                      \
    X(shortcut_a)                                                                                  \
    X(dropout)

enum op_kind {
#define OP_ENUM(name) OP_##name,
    OP_KINDS(OP_ENUM)
#undef OP_ENUM
        OP_COUNT
};

/* One image's share of a node's output; a vector is (c, 1, 1). */
struct shape {
    int c, h, w;
};

/* What a parameter is for: how it starts, whether it decays, whether an optimizer moves it. */
enum parameter_role {
    PARAMETER_WEIGHT,
    PARAMETER_BIAS,
    PARAMETER_SCALE,
    PARAMETER_SHIFT,
    PARAMETER_RUNNING_MEAN,
    PARAMETER_RUNNING_VAR
};

struct parameter {
    const char *name; /* full name, e.g. "stage1.block1.conv1.weight" */
    enum parameter_role role;
    int rank, dims[4]; /* plain layout: OIHW, or O I for linear */
    int node;
    int fan_in; /* for He initialisation */
};

enum { OP_INPUTS = 2, OP_PARAMETERS = 4, GRAPH_MOST_NODES = 4096 };

struct node {
    enum op_kind kind;
    const char *name; /* "stage1.block1.conv1"; parameter names begin with it */
    int input_count, inputs[OP_INPUTS];
    const void *attributes;               /* the op's own struct, see op/ */
    struct shape shape;                   /* of the output */
    int parameter_count, first_parameter; /* in graph.parameters */
};

struct tap {
    const char *name;
    int node;
};

struct graph {
    int node_count, parameter_count, tap_count;
    struct node *nodes; /* nodes[0] is the input, the last one gives the logits */
    struct parameter *parameters;
    struct tap *taps;
    struct shape input;
    int classes;
    const char *network; /* the specification it was made from, e.g. "resnet:depth=8" */
    struct arena arena;  /* owns all of the above */
    bool finished;
};

/* ---- making one ---- */

/* Begin with the input node, called "input". Sides are 1 to 65536. */
enum retort_status graph_begin(struct graph *graph, const char *network, struct shape input);

/* Append a node: its inputs are node numbers, attributes are copied (NULL: the op's defaults).
 * Names are letters, digits, dots, dashes, underscores. Shapes and attributes are checked by the
 * op: RETORT_INVALID names the node. node [out] its number. */
enum retort_status graph_add(struct graph *graph, enum op_kind kind, const char *name,
                             const int *inputs, int input_count, const void *attributes, int *node);

/* Name a node's output; any node but the input. Taps are kept in the order of the network. */
enum retort_status graph_tap(struct graph *graph, const char *name, int node);

/* Check that the last node is a linear layer, whose outputs are the classes, and that every other
 * node is read by one or is a tap. Nothing may be added afterwards. */
enum retort_status graph_finish(struct graph *graph);

/* Accepts a zeroed struct. */
void graph_release(struct graph *graph);

/* ---- reading one ---- */

/* -1 when there is no such tap. */
int graph_find_tap(const struct graph *graph, const char *name);
/* The shape of tap number `tap`. */
struct shape graph_tap_shape(const struct graph *graph, int tap);
/* -1 when there is no such parameter. */
int graph_find_parameter(const struct graph *graph, const char *name);
/* Numbers in a parameter. */
size_t parameter_count(const struct parameter *parameter);
/* Does an optimizer move it? (Running statistics are not moved.) */
bool parameter_trains(const struct parameter *parameter);

/* ---- files ---- */

/* A JSON object from which graph_from_json makes an equal graph:
 * {"network", "input": [c, h, w], "nodes": [{"op", "name", "inputs", "attributes"}], "taps": {name:
 * node}}; the input node is not listed and has number 0. */
json_t *graph_json(const struct graph *graph);
/* Hostile input is expected: anything that is not a graph is RETORT_FORMAT, prefixed by
 * "where: graph: ". */
enum retort_status graph_from_json(const json_t *object, const char *where, struct graph *graph);

/* ---- specifications ---- */

/* Build what "family:key=value,..." says, e.g. "resnet:depth=8,width=2,shortcut=B". Keys that every
 * family knows: classes, input (3x32x32); given here they win over the arguments. */
enum retort_status network_build(const char *specification, int classes, struct shape input,
                                 struct graph *graph);

#endif
