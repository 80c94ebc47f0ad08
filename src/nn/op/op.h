/* op.h - what a kind of node is: one struct of this type per file in op/, one line in OP_KINDS.
 *
 * The first half says what the operator means (shapes, parameters, cost, names in files); the
 * second half says how an executor runs it, forward and backward. */
#ifndef NN_OP_H
#define NN_OP_H

#include "nn/graph.h"

struct builder; /* engine/builder.h */
struct unit;

struct parameter_spec {
    const char *suffix; /* "weight" */
    enum parameter_role role;
    int rank, dims[4], fan_in;
};

struct op {
    const char *name; /* in model files */
    const char *onnx; /* ONNX operator type; NULL when it takes several */
    int inputs;
    bool vectors; /* reads also the plain vectors that linear layers make */
    const struct setting_table *attributes; /* NULL: none */

    /* Check attributes against the input shapes and give the output's shape. The message needs no
     * node name: the caller adds it. */
    enum retort_status (*infer)(const void *attributes, const struct shape *inputs,
                                struct shape *output);
    /* Fill specs, at most OP_PARAMETERS; NULL: no parameters. */
    int (*parameters)(const void *attributes, const struct shape *inputs,
                      struct parameter_spec *specs);
    /* Multiply-accumulates for one image; NULL: none are counted. */
    int64_t (*macs)(const void *attributes, const struct shape *inputs, struct shape output);

    /* Append the steps that compute this node (and what is fused into it). */
    enum retort_status (*forward)(struct builder *builder, const struct unit *unit);
    /* Append the steps that turn the gradient of its output into those of its inputs and
     * parameters. */
    enum retort_status (*backward)(struct builder *builder, const struct unit *unit);
};

/* The operator of a kind. */
const struct op *op_of(enum op_kind kind);
/* NULL when there is none of that name. */
const struct op *op_find(const char *name, enum op_kind *kind);

/* ---- attributes, as the zoo gives them ---- */

struct conv_attributes {
    int out_channels, kernel, stride, pad, groups;
    bool bias;
};
struct batch_norm_attributes {
    double epsilon, momentum; /* momentum: share of the new batch in the running statistics */
};
struct max_pool_attributes {
    int kernel, stride;
};
struct linear_attributes { /* takes a map as well: flattened in (c, h, w) order */
    int out_features;
};
struct shortcut_a_attributes { /* every stride-th position, zero channels half before, half after */
    int out_channels, stride;
};
struct dropout_attributes {
    double rate;
};

#endif
