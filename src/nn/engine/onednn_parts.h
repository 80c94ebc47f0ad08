/* onednn_parts.h - what the files around oneDNN share; only they include it, and dnnl.h with it. */
#ifndef ENGINE_ONEDNN_PARTS_H
#define ENGINE_ONEDNN_PARTS_H

#include <dnnl.h>

#include "base/memory.h"
#include "nn/engine/onednn.h"

struct dnn_layout {
    dnnl_memory_desc_t desc;
};

struct dnn_primitive {
    struct dnn *dnn;
    struct dnn_primitive *next;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    const struct dnn_layout *wanted[DNN_OPERANDS];
    dnnl_memory_t memory[DNN_OPERANDS];
    dnnl_exec_arg_t arguments[DNN_OPERANDS];
    int argument_count;
    const int *argument_of; /* what oneDNN calls an operand here */
    const char *implementation;
};

struct dnn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    struct arena arena;               /* layouts and primitives */
    struct dnn_primitive *primitives; /* the newest first */
};

/* A status of oneDNN as one of ours; what: the operation, for the sentence. */
enum retort_status dnn_check(dnnl_status_t found, const char *what);
#define DNN_CHECK(call) TRY(dnn_check((call), #call))

dnnl_data_type_t dnn_type(enum precision precision);
/* A 1x1 plain map, which oneDNN sees as (n, c). */
bool dnn_is_vector(const struct tensor *tensor);
/* The last dimension innermost; rank 1 to 5. */
enum retort_status dnn_plain_desc(dnnl_data_type_t type, int rank, const int *dims,
                                  dnnl_memory_desc_t *desc);
/* As dnn_map. */
enum retort_status dnn_map_desc(const struct tensor *tensor, dnnl_memory_desc_t *desc);
enum retort_status dnn_keep_layout(struct dnn *dnn, const dnnl_memory_desc_t *desc,
                                   const struct dnn_layout **layout);

/* Scratch space of the caller's, and the fused tail of a forward pass. To be destroyed, also after
 * an error. */
enum retort_status dnn_make_attributes(bool sum, bool relu, dnnl_primitive_attr_t *attributes);

/* hint: the forward primitive of a backward one, or NULL. */
enum retort_status dnn_make_primitive(struct dnn *dnn, const_dnnl_op_desc_t operation,
                                      const_dnnl_primitive_attr_t attributes,
                                      const struct dnn_primitive *hint,
                                      struct dnn_primitive **made);

/* Ask the primitive for the layouts of the operands named (terminated by DNN_OPERANDS); those of
 * size zero do not exist. Scratch space is always asked for. */
enum retort_status dnn_ask_layouts(struct dnn_primitive *primitive,
                                   const enum dnn_operand *operands);

#endif
