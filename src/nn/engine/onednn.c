/* onednn.c - oneDNN (2.x C API): layouts, primitives in general, pooling and reorders.
 *
 * Every object made is kept in one list of the struct dnn and released with it, in reverse order.
 * Layouts of weights are left to the library (format_tag_any) and asked back; those of activations
 * are given: blocked, or channels last for matrix units (doc/decisions/0020-matrix-units.md). */
#include "nn/engine/onednn.h"

#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "nn/engine/onednn_parts.h"

static const int argument_of[DNN_OPERANDS] = {
    [DNN_SRC] = DNNL_ARG_SRC,
    [DNN_WEIGHTS] = DNNL_ARG_WEIGHTS,
    [DNN_BIAS] = DNNL_ARG_BIAS,
    [DNN_DST] = DNNL_ARG_DST,
    [DNN_DIFF_SRC] = DNNL_ARG_DIFF_SRC,
    [DNN_DIFF_WEIGHTS] = DNNL_ARG_DIFF_WEIGHTS,
    [DNN_DIFF_BIAS] = DNNL_ARG_DIFF_BIAS,
    [DNN_DIFF_DST] = DNNL_ARG_DIFF_DST,
    [DNN_WORKSPACE] = DNNL_ARG_WORKSPACE,
    [DNN_SCRATCHPAD] = DNNL_ARG_SCRATCHPAD,
};

enum retort_status dnn_check(dnnl_status_t found, const char *what)
{
    if (found == dnnl_success)
        return RETORT_OK;
    if (found == dnnl_out_of_memory)
        return fail(RETORT_MEMORY, "oneDNN: out of memory in %s", what);
    return fail(found == dnnl_unimplemented ? RETORT_UNSUPPORTED : RETORT_BACKEND,
                "oneDNN: %s failed with status %d", what, (int)found);
}

enum retort_status dnn_open(struct dnn **dnn)
{
    struct dnn *made = NULL;
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    enum retort_status status = dnn_check(dnnl_engine_create(&made->engine, dnnl_cpu, 0), "engine");
    if (status == RETORT_OK)
        status = dnn_check(dnnl_stream_create(&made->stream, made->engine, dnnl_stream_in_order),
                           "stream");
    if (status != RETORT_OK) {
        dnn_close(made);
        return status;
    }
    *dnn = made;
    return RETORT_OK;
}

void dnn_close(struct dnn *dnn)
{
    if (!dnn)
        return;
    for (struct dnn_primitive *p = dnn->primitives; p; p = p->next) {
        for (int i = 0; i < DNN_OPERANDS; i++)
            dnnl_memory_destroy(p->memory[i]);
        dnnl_primitive_destroy(p->primitive);
        dnnl_primitive_desc_destroy(p->desc);
    }
    dnnl_stream_destroy(dnn->stream);
    dnnl_engine_destroy(dnn->engine);
    arena_release(&dnn->arena);
    free(dnn);
}

int dnn_block(void)
{
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_mic) == dnnl_cpu_isa_avx512_mic ||
                   (isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core
               ? 16
               : 8;
}

const char *dnn_version(void)
{
    static char text[32];
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, sizeof(text), "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

bool dnn_has_bf16(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_bf16) ==
           dnnl_cpu_isa_avx512_core_bf16;
}

bool dnn_has_amx(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core_amx) ==
           dnnl_cpu_isa_avx512_core_amx;
}

/* ---- layouts ---- */

dnnl_data_type_t dnn_type(enum precision precision)
{
    return precision == PRECISION_BF16 ? dnnl_bf16 : dnnl_f32;
}

enum retort_status dnn_keep_layout(struct dnn *dnn, const dnnl_memory_desc_t *desc,
                                   const struct dnn_layout **layout)
{
    struct dnn_layout *made;
    TRY(arena_take(&dnn->arena, sizeof(*made), (void **)&made));
    made->desc = *desc;
    *layout = made;
    return RETORT_OK;
}

enum retort_status dnn_plain_desc(dnnl_data_type_t type, int rank, const int *dims,
                                  dnnl_memory_desc_t *desc)
{
    static const dnnl_format_tag_t tags[] = {
        dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde};
    dnnl_dims_t wide;
    for (int i = 0; i < rank; i++)
        wide[i] = dims[i];
    DNN_CHECK(dnnl_memory_desc_init_by_tag(desc, rank, wide, type, tags[rank]));
    return RETORT_OK;
}

bool dnn_is_vector(const struct tensor *tensor)
{
    return tensor->block == 1 && tensor->h == 1 && tensor->w == 1;
}

enum retort_status dnn_map_desc(const struct tensor *tensor, dnnl_memory_desc_t *desc)
{
    const int dims[] = {tensor->n, tensor->c, tensor->h, tensor->w};
    if (tensor->block == 1)
        return dnn_plain_desc(dnn_type(tensor->type), dnn_is_vector(tensor) ? 2 : 4, dims, desc);
    dnnl_dims_t wide = {dims[0], dims[1], dims[2], dims[3]};
    DNN_CHECK(dnnl_memory_desc_init_by_tag(desc, 4, wide, dnn_type(tensor->type),
                                           tensor->block == 16 ? dnnl_nChw16c : dnnl_nChw8c));
    return RETORT_OK;
}

enum retort_status dnn_map(struct dnn *dnn, const struct tensor *tensor,
                           const struct dnn_layout **layout)
{
    dnnl_memory_desc_t desc;
    TRY(dnn_map_desc(tensor, &desc));
    return dnn_keep_layout(dnn, &desc, layout);
}

enum retort_status dnn_blocked_weights(struct dnn *dnn, int oc, int ic, int kernel, int block,
                                       const struct dnn_layout **plain,
                                       const struct dnn_layout **blocked)
{
    const int sizes[] = {oc, ic, kernel, kernel};
    const dnnl_dims_t wide = {oc, ic, kernel, kernel};
    const dnnl_format_tag_t tag = block == 16 ? dnnl_OIhw16i16o : dnnl_OIhw8i8o;
    dnnl_memory_desc_t desc;
    TRY(dnn_plain_desc(dnnl_f32, 4, sizes, &desc));
    TRY(dnn_keep_layout(dnn, &desc, plain));
    DNN_CHECK(dnnl_memory_desc_init_by_tag(&desc, 4, wide, dnnl_f32, tag));
    return dnn_keep_layout(dnn, &desc, blocked);
}

enum retort_status dnn_depthwise_weights(struct dnn *dnn, int channels, int kernel, int block,
                                         const struct dnn_layout **plain,
                                         const struct dnn_layout **blocked)
{
    const int sizes[] = {channels, 1, 1, kernel, kernel};
    const dnnl_dims_t wide = {channels, 1, 1, kernel, kernel};
    const dnnl_format_tag_t tag = block == 16 ? dnnl_Goihw16g : dnnl_Goihw8g;
    dnnl_memory_desc_t desc;
    TRY(dnn_plain_desc(dnnl_f32, 5, sizes, &desc));
    TRY(dnn_keep_layout(dnn, &desc, plain));
    DNN_CHECK(dnnl_memory_desc_init_by_tag(&desc, 5, wide, dnnl_f32, tag));
    return dnn_keep_layout(dnn, &desc, blocked);
}

size_t dnn_bytes(const struct dnn_layout *layout)
{
    return layout ? dnnl_memory_desc_get_size(&layout->desc) : 0;
}

bool dnn_equal(const struct dnn_layout *a, const struct dnn_layout *b)
{
    return dnnl_memory_desc_equal(&a->desc, &b->desc);
}

/* ---- primitives in general ---- */

/* Register a primitive descriptor, which is taken over. */
static enum retort_status register_desc(struct dnn *dnn, dnnl_primitive_desc_t desc,
                                        struct dnn_primitive **made)
{
    struct dnn_primitive *primitive = arena_get(&dnn->arena, sizeof(*primitive));
    if (!primitive) {
        dnnl_primitive_desc_destroy(desc);
        return fail(RETORT_MEMORY, "out of memory for a primitive");
    }
    primitive->dnn = dnn;
    primitive->argument_of = argument_of;
    primitive->desc = desc;
    primitive->next = dnn->primitives;
    dnn->primitives = primitive;
    DNN_CHECK(dnnl_primitive_create(&primitive->primitive, desc));
    DNN_CHECK(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0,
                                        (void *)&primitive->implementation));
    *made = primitive;
    return RETORT_OK;
}

enum retort_status dnn_make_primitive(struct dnn *dnn, const_dnnl_op_desc_t operation,
                                      const_dnnl_primitive_attr_t attributes,
                                      const struct dnn_primitive *hint, struct dnn_primitive **made)
{
    dnnl_primitive_desc_t desc;
    DNN_CHECK(dnnl_primitive_desc_create(&desc, operation, attributes, dnn->engine,
                                         hint ? hint->desc : NULL));
    return register_desc(dnn, desc, made);
}

enum retort_status dnn_ask_layouts(struct dnn_primitive *primitive,
                                   const enum dnn_operand *operands)
{
    for (int i = 0;; i++) {
        enum dnn_operand operand = operands[i] == DNN_OPERANDS ? DNN_SCRATCHPAD : operands[i];
        const dnnl_memory_desc_t *desc = dnnl_primitive_desc_query_md(
            primitive->desc, dnnl_query_exec_arg_md, primitive->argument_of[operand]);
        if (desc && dnnl_memory_desc_get_size(desc) > 0)
            TRY(dnn_keep_layout(primitive->dnn, desc, &primitive->wanted[operand]));
        if (operands[i] == DNN_OPERANDS)
            return RETORT_OK;
    }
}

const struct dnn_layout *dnn_wanted(const struct dnn_primitive *primitive, enum dnn_operand operand)
{
    return primitive->wanted[operand];
}

const char *dnn_implementation(const struct dnn_primitive *primitive)
{
    return primitive->implementation;
}

enum retort_status dnn_attach(struct dnn_primitive *primitive, enum dnn_operand operand, void *data)
{
    if (primitive->memory[operand]) {
        DNN_CHECK(dnnl_memory_set_data_handle_v2(primitive->memory[operand], data,
                                                 primitive->dnn->stream));
        return RETORT_OK;
    }
    DNN_CHECK(dnnl_memory_create(&primitive->memory[operand], &primitive->wanted[operand]->desc,
                                 primitive->dnn->engine, data));
    primitive->arguments[primitive->argument_count++] =
        (dnnl_exec_arg_t){primitive->argument_of[operand], primitive->memory[operand]};
    return RETORT_OK;
}

enum retort_status dnn_run(struct dnn_primitive *primitive)
{
    dnnl_status_t found = dnnl_primitive_execute(primitive->primitive, primitive->dnn->stream,
                                                 primitive->argument_count, primitive->arguments);
    return found == dnnl_success ? RETORT_OK : dnn_check(found, primitive->implementation);
}

enum retort_status dnn_make_attributes(bool sum, bool relu, dnnl_primitive_attr_t *attributes)
{
    DNN_CHECK(dnnl_primitive_attr_create(attributes));
    DNN_CHECK(dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user));
    if (!sum && !relu)
        return RETORT_OK;
    dnnl_post_ops_t tail;
    DNN_CHECK(dnnl_post_ops_create(&tail));
    dnnl_status_t found = dnnl_success;
    if (sum)
        found = dnnl_post_ops_append_sum(tail, 1);
    if (found == dnnl_success && relu)
        found = dnnl_post_ops_append_eltwise(tail, 1, dnnl_eltwise_relu, 0, 0);
    if (found == dnnl_success)
        found = dnnl_primitive_attr_set_post_ops(*attributes, tail);
    dnnl_post_ops_destroy(tail);
    return dnn_check(found, "post operations");
}

/* ---- pooling, reorder ---- */

enum retort_status dnn_pool_create(struct dnn *dnn, const struct dnn_pool *what,
                                   struct dnn_primitive **forward, struct dnn_primitive **backward)
{
    dnnl_memory_desc_t src, dst;
    TRY(dnn_map_desc(&what->src, &src));
    TRY(dnn_map_desc(&what->dst, &dst));
    dnnl_alg_kind_t kind = what->average ? dnnl_pooling_avg_exclude_padding : dnnl_pooling_max;
    dnnl_dims_t kernel = {what->kernel_h, what->kernel_w},
                strides = {what->stride_h, what->stride_w};
    dnnl_dims_t pads = {0, 0}, dilation = {0, 0};
    dnnl_pooling_v2_desc_t operation;
    dnnl_primitive_attr_t attributes = NULL;
    enum retort_status status = dnn_make_attributes(false, false, &attributes);
    if (status == RETORT_OK)
        status =
            dnn_check(dnnl_pooling_v2_forward_desc_init(
                          &operation, what->train ? dnnl_forward_training : dnnl_forward_inference,
                          kind, &src, &dst, strides, kernel, dilation, pads, pads),
                      "pooling");
    if (status == RETORT_OK)
        status = dnn_make_primitive(dnn, &operation, attributes, NULL, forward);
    if (status == RETORT_OK && what->train)
        status = dnn_check(dnnl_pooling_v2_backward_desc_init(&operation, kind, &src, &dst, strides,
                                                              kernel, dilation, pads, pads),
                           "pooling backward");
    if (status == RETORT_OK && what->train)
        status = dnn_make_primitive(dnn, &operation, attributes, *forward, backward);
    dnnl_primitive_attr_destroy(attributes);
    TRY(status);
    TRY(dnn_ask_layouts(*forward,
                        (enum dnn_operand[]){DNN_SRC, DNN_DST, DNN_WORKSPACE, DNN_OPERANDS}));
    if (!what->train)
        return RETORT_OK;
    return dnn_ask_layouts(
        *backward, (enum dnn_operand[]){DNN_DIFF_SRC, DNN_DIFF_DST, DNN_WORKSPACE, DNN_OPERANDS});
}

enum retort_status dnn_reorder_create(struct dnn *dnn, const struct dnn_layout *from,
                                      const struct dnn_layout *to, struct dnn_primitive **primitive)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t desc = NULL;
    enum retort_status status = dnn_make_attributes(false, false, &attributes);
    if (status == RETORT_OK)
        status = dnn_check(dnnl_reorder_primitive_desc_create(&desc, &from->desc, dnn->engine,
                                                              &to->desc, dnn->engine, attributes),
                           "reorder");
    dnnl_primitive_attr_destroy(attributes);
    TRY(status);
    TRY(register_desc(dnn, desc, primitive));
    return dnn_ask_layouts(*primitive, (enum dnn_operand[]){DNN_SRC, DNN_DST, DNN_OPERANDS});
}

enum retort_status dnn_convert(struct dnn *dnn, const struct dnn_layout *from, const void *src,
                               const struct dnn_layout *to, void *dst)
{
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t source = NULL, target = NULL;
    enum retort_status status;
    TRY_DONE(dnn_check(dnnl_reorder_primitive_desc_create(&desc, &from->desc, dnn->engine,
                                                          &to->desc, dnn->engine, NULL),
                       "reorder"));
    TRY_DONE(dnn_check(dnnl_primitive_create(&primitive, desc), "reorder"));
    TRY_DONE(
        dnn_check(dnnl_memory_create(&source, &from->desc, dnn->engine, (void *)src), "memory"));
    TRY_DONE(dnn_check(dnnl_memory_create(&target, &to->desc, dnn->engine, dst), "memory"));
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
    TRY_DONE(dnn_check(dnnl_primitive_execute(primitive, dnn->stream, 2, arguments), "reorder"));
    status = dnn_check(dnnl_stream_wait(dnn->stream), "reorder");
done:
    dnnl_memory_destroy(target);
    dnnl_memory_destroy(source);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(desc);
    return status;
}
