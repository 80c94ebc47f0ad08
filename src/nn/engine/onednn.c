/* onednn.c - the only user of dnnl.h (oneDNN 2.x C API).
 *
 * Every object made is kept in one list of the struct dnn and released with it, in reverse order.
 * Layouts of weights are left to the library (format_tag_any) and asked back; those of activations
 * are given: blocked, or channels last for matrix units (doc/decisions/0020-matrix-units.md). */
#include "nn/engine/onednn.h"

#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

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

/* The gradient of weights as a matrix product: rows of diff_dst, turned, times rows of src. */
static const int argument_of_product[DNN_OPERANDS] = {
    [DNN_DIFF_DST] = DNNL_ARG_SRC,
    [DNN_SRC] = DNNL_ARG_WEIGHTS,
    [DNN_DIFF_WEIGHTS] = DNNL_ARG_DST,
    [DNN_SCRATCHPAD] = DNNL_ARG_SCRATCHPAD,
};

static enum retort_status check(dnnl_status_t found, const char *what)
{
    if (found == dnnl_success)
        return RETORT_OK;
    if (found == dnnl_out_of_memory)
        return fail(RETORT_MEMORY, "oneDNN: out of memory in %s", what);
    return fail(found == dnnl_unimplemented ? RETORT_UNSUPPORTED : RETORT_BACKEND,
                "oneDNN: %s failed with status %d", what, (int)found);
}

#define CHECK(call) TRY(check((call), #call))

enum retort_status dnn_open(struct dnn **dnn)
{
    struct dnn *made = NULL;
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    enum retort_status status = check(dnnl_engine_create(&made->engine, dnnl_cpu, 0), "engine");
    if (status == RETORT_OK)
        status =
            check(dnnl_stream_create(&made->stream, made->engine, dnnl_stream_in_order), "stream");
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

static dnnl_data_type_t type_of(enum precision precision)
{
    return precision == PRECISION_BF16 ? dnnl_bf16 : dnnl_f32;
}

static enum retort_status keep_layout(struct dnn *dnn, const dnnl_memory_desc_t *desc,
                                      const struct dnn_layout **layout)
{
    struct dnn_layout *made;
    TRY(arena_take(&dnn->arena, sizeof(*made), (void **)&made));
    made->desc = *desc;
    *layout = made;
    return RETORT_OK;
}

static enum retort_status plain_desc(dnnl_data_type_t type, int rank, const int *dims,
                                     dnnl_memory_desc_t *desc)
{
    static const dnnl_format_tag_t tags[] = {
        dnnl_format_tag_undef, dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde};
    dnnl_dims_t wide;
    for (int i = 0; i < rank; i++)
        wide[i] = dims[i];
    CHECK(dnnl_memory_desc_init_by_tag(desc, rank, wide, type, tags[rank]));
    return RETORT_OK;
}

static bool is_vector(const struct tensor *tensor)
{
    return tensor->block == 1 && tensor->h == 1 && tensor->w == 1;
}

static enum retort_status map_desc(const struct tensor *tensor, dnnl_memory_desc_t *desc)
{
    const int dims[] = {tensor->n, tensor->c, tensor->h, tensor->w};
    if (tensor->block == 1)
        return plain_desc(type_of(tensor->type), is_vector(tensor) ? 2 : 4, dims, desc);
    dnnl_dims_t wide = {dims[0], dims[1], dims[2], dims[3]};
    CHECK(dnnl_memory_desc_init_by_tag(desc, 4, wide, type_of(tensor->type),
                                       tensor->block == 16 ? dnnl_nChw16c : dnnl_nChw8c));
    return RETORT_OK;
}

static enum retort_status channels_last_desc(const struct tensor *tensor, dnnl_memory_desc_t *desc)
{
    const dnnl_dims_t wide = {tensor->n, tensor->c, tensor->h, tensor->w};
    CHECK(dnnl_memory_desc_init_by_tag(desc, 4, wide, type_of(tensor->type), dnnl_nhwc));
    return RETORT_OK;
}

enum retort_status dnn_map(struct dnn *dnn, const struct tensor *tensor,
                           const struct dnn_layout **layout)
{
    dnnl_memory_desc_t desc;
    TRY(map_desc(tensor, &desc));
    return keep_layout(dnn, &desc, layout);
}

enum retort_status dnn_blocked_weights(struct dnn *dnn, int oc, int ic, int kernel, int block,
                                       const struct dnn_layout **plain,
                                       const struct dnn_layout **blocked)
{
    const int sizes[] = {oc, ic, kernel, kernel};
    const dnnl_dims_t wide = {oc, ic, kernel, kernel};
    const dnnl_format_tag_t tag = block == 16 ? dnnl_OIhw16i16o : dnnl_OIhw8i8o;
    dnnl_memory_desc_t desc;
    TRY(plain_desc(dnnl_f32, 4, sizes, &desc));
    TRY(keep_layout(dnn, &desc, plain));
    CHECK(dnnl_memory_desc_init_by_tag(&desc, 4, wide, dnnl_f32, tag));
    return keep_layout(dnn, &desc, blocked);
}

enum retort_status dnn_depthwise_weights(struct dnn *dnn, int channels, int kernel, int block,
                                         const struct dnn_layout **plain,
                                         const struct dnn_layout **blocked)
{
    const int sizes[] = {channels, 1, 1, kernel, kernel};
    const dnnl_dims_t wide = {channels, 1, 1, kernel, kernel};
    const dnnl_format_tag_t tag = block == 16 ? dnnl_Goihw16g : dnnl_Goihw8g;
    dnnl_memory_desc_t desc;
    TRY(plain_desc(dnnl_f32, 5, sizes, &desc));
    TRY(keep_layout(dnn, &desc, plain));
    CHECK(dnnl_memory_desc_init_by_tag(&desc, 5, wide, dnnl_f32, tag));
    return keep_layout(dnn, &desc, blocked);
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
    CHECK(dnnl_primitive_create(&primitive->primitive, desc));
    CHECK(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0,
                                    (void *)&primitive->implementation));
    *made = primitive;
    return RETORT_OK;
}

static enum retort_status make(struct dnn *dnn, const_dnnl_op_desc_t operation,
                               const_dnnl_primitive_attr_t attributes,
                               const struct dnn_primitive *hint, struct dnn_primitive **made)
{
    dnnl_primitive_desc_t desc;
    CHECK(dnnl_primitive_desc_create(&desc, operation, attributes, dnn->engine,
                                     hint ? hint->desc : NULL));
    return register_desc(dnn, desc, made);
}

/* Ask the primitive for the layouts of the operands named (terminated by DNN_OPERANDS); those of
 * size zero do not exist. Scratch space is always asked for. */
static enum retort_status ask(struct dnn_primitive *primitive, const enum dnn_operand *operands)
{
    for (int i = 0;; i++) {
        enum dnn_operand operand = operands[i] == DNN_OPERANDS ? DNN_SCRATCHPAD : operands[i];
        const dnnl_memory_desc_t *desc = dnnl_primitive_desc_query_md(
            primitive->desc, dnnl_query_exec_arg_md, primitive->argument_of[operand]);
        if (desc && dnnl_memory_desc_get_size(desc) > 0)
            TRY(keep_layout(primitive->dnn, desc, &primitive->wanted[operand]));
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
        CHECK(dnnl_memory_set_data_handle_v2(primitive->memory[operand], data,
                                             primitive->dnn->stream));
        return RETORT_OK;
    }
    CHECK(dnnl_memory_create(&primitive->memory[operand], &primitive->wanted[operand]->desc,
                             primitive->dnn->engine, data));
    primitive->arguments[primitive->argument_count++] =
        (dnnl_exec_arg_t){primitive->argument_of[operand], primitive->memory[operand]};
    return RETORT_OK;
}

enum retort_status dnn_run(struct dnn_primitive *primitive)
{
    dnnl_status_t found = dnnl_primitive_execute(primitive->primitive, primitive->dnn->stream,
                                                 primitive->argument_count, primitive->arguments);
    return found == dnnl_success ? RETORT_OK : check(found, primitive->implementation);
}

/* User-managed scratch space, and the fused tail of a forward pass. */
static enum retort_status make_attributes(bool sum, bool relu, dnnl_primitive_attr_t *attributes)
{
    CHECK(dnnl_primitive_attr_create(attributes));
    CHECK(dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user));
    if (!sum && !relu)
        return RETORT_OK;
    dnnl_post_ops_t tail;
    CHECK(dnnl_post_ops_create(&tail));
    dnnl_status_t found = dnnl_success;
    if (sum)
        found = dnnl_post_ops_append_sum(tail, 1);
    if (found == dnnl_success && relu)
        found = dnnl_post_ops_append_eltwise(tail, 1, dnnl_eltwise_relu, 0, 0);
    if (found == dnnl_success)
        found = dnnl_primitive_attr_set_post_ops(*attributes, tail);
    dnnl_post_ops_destroy(tail);
    return check(found, "post operations");
}

/* ---- convolution and inner product ---- */

struct weighted_descs {
    dnnl_memory_desc_t src, dst, weights, bias, master, plain;
    dnnl_memory_desc_t gradient_src, gradient_dst; /* as the gradient of weights reads them */
    dnnl_dims_t strides, pads;
};

/* With channels last, a 1x1 convolution is an inner product of as many rows as there are pixels:
 * oneDNN 2.6's gradients of these are two to three times as fast on AMX. */
static struct dnn_weighted as_product(const struct dnn_weighted *what)
{
    struct dnn_weighted product = *what;
    if (what->kernel != 1 || what->stride != 1 || what->pad != 0 || !what->channels_last)
        return product;
    product.channels_last = false;
    product.kernel = 0;
    product.src = product.dst = (struct tensor){.type = what->src.type,
                                                .n = what->src.n * what->src.h * what->src.w,
                                                .h = 1,
                                                .w = 1,
                                                .block = 1};
    product.src.c = what->src.c;
    product.dst.c = what->dst.c;
    return product;
}

/* oneDNN 2.6's gradient of weights of a convolution with strides takes three times as long in bf16
 * as in f32 on Zen 4 (80 and 195 GFLOP/s, 16 -> 32 channels at 32x32). */
static bool wants_f32_gradient(const struct dnn_weighted *what)
{
    return what->kernel > 1 && what->stride > 1 && what->groups <= 1 && !what->channels_last;
}

static enum retort_status describe_maps(const struct dnn_weighted *what, struct weighted_descs *d)
{
    enum retort_status (*desc_of)(const struct tensor *, dnnl_memory_desc_t *) =
        what->channels_last ? channels_last_desc : map_desc;
    struct tensor src = what->src, dst = what->dst;
    TRY(desc_of(&src, &d->src));
    TRY(desc_of(&dst, &d->dst));
    if (wants_f32_gradient(what))
        src.type = dst.type = PRECISION_F32;
    TRY(desc_of(&src, &d->gradient_src));
    return desc_of(&dst, &d->gradient_dst);
}

static enum retort_status describe(const struct dnn_weighted *what, struct weighted_descs *d)
{
    TRY(describe_maps(what, d));
    int oc = what->dst.c, ic = what->src.c, k = what->kernel, g = what->groups;
    const int whole[4] = {oc, ic, k ? k : what->src.h, k ? k : what->src.w};
    const int grouped[5] = {g, g ? oc / g : 0, g ? ic / g : 0, k, k};
    const bool groups = k > 0 && g > 1;
    const int *first = groups ? grouped : whole;
    int rank = groups ? 5 : k == 0 && is_vector(&what->src) ? 2 : 4;
    dnnl_dims_t wide;
    for (int i = 0; i < rank; i++)
        wide[i] = first[i];
    TRY(plain_desc(dnnl_f32, rank, first, &d->plain));
    CHECK(dnnl_memory_desc_init_by_tag(&d->weights, rank, wide, type_of(what->src.type),
                                       dnnl_format_tag_any));
    CHECK(dnnl_memory_desc_init_by_tag(&d->master, rank, wide, dnnl_f32, dnnl_format_tag_any));
    TRY(plain_desc(dnnl_f32, 1, &oc, &d->bias));
    for (int i = 0; i < 2; i++) {
        d->strides[i] = what->stride;
        d->pads[i] = what->pad;
    }
    return RETORT_OK;
}

/* Padding on the far side that makes the output size come out. */
static void far_pads(const struct dnn_weighted *what, dnnl_dims_t pads)
{
    pads[0] = (what->dst.h - 1) * what->stride + what->kernel - what->src.h - what->pad;
    pads[1] = (what->dst.w - 1) * what->stride + what->kernel - what->src.w - what->pad;
}

static enum retort_status make_forward(struct dnn *dnn, const struct dnn_weighted *what,
                                       const struct weighted_descs *d, struct dnn_primitive **made)
{
    dnnl_prop_kind_t kind = what->train ? dnnl_forward_training : dnnl_forward_inference;
    const dnnl_memory_desc_t *bias = what->bias ? &d->bias : NULL;
    dnnl_primitive_attr_t attributes = NULL;
    enum retort_status status = make_attributes(what->sum, what->relu, &attributes);
    if (status == RETORT_OK && what->kernel == 0) {
        dnnl_inner_product_desc_t operation;
        status = check(dnnl_inner_product_forward_desc_init(&operation, kind, &d->src, &d->weights,
                                                            bias, &d->dst),
                       "inner product");
        if (status == RETORT_OK)
            status = make(dnn, &operation, attributes, NULL, made);
    } else if (status == RETORT_OK) {
        dnnl_convolution_desc_t operation;
        dnnl_dims_t far;
        far_pads(what, far);
        status = check(dnnl_convolution_forward_desc_init(&operation, kind, dnnl_convolution_direct,
                                                          &d->src, &d->weights, bias, &d->dst,
                                                          d->strides, d->pads, far),
                       "convolution");
        if (status == RETORT_OK)
            status = make(dnn, &operation, attributes, NULL, made);
    }
    dnnl_primitive_attr_destroy(attributes);
    TRY(status);
    return ask(*made, (enum dnn_operand[]){DNN_SRC, DNN_WEIGHTS, DNN_BIAS, DNN_DST, DNN_OPERANDS});
}

static enum retort_status make_backward_data(struct dnn *dnn, const struct dnn_weighted *what,
                                             const struct weighted_descs *d,
                                             const_dnnl_primitive_attr_t attributes,
                                             const struct dnn_primitive *hint,
                                             struct dnn_primitive **made)
{
    if (what->kernel == 0) {
        dnnl_inner_product_desc_t operation;
        CHECK(
            dnnl_inner_product_backward_data_desc_init(&operation, &d->src, &d->weights, &d->dst));
        TRY(make(dnn, &operation, attributes, hint, made));
    } else {
        dnnl_convolution_desc_t operation;
        dnnl_dims_t far;
        far_pads(what, far);
        CHECK(dnnl_convolution_backward_data_desc_init(&operation, dnnl_convolution_direct, &d->src,
                                                       &d->weights, &d->dst, d->strides, d->pads,
                                                       far));
        TRY(make(dnn, &operation, attributes, hint, made));
    }
    return ask(*made, (enum dnn_operand[]){DNN_DIFF_SRC, DNN_WEIGHTS, DNN_DIFF_DST, DNN_OPERANDS});
}

static enum retort_status make_backward_weights(struct dnn *dnn, const struct dnn_weighted *what,
                                                const struct weighted_descs *d,
                                                const_dnnl_primitive_attr_t attributes,
                                                const struct dnn_primitive *hint,
                                                struct dnn_primitive **made)
{
    const dnnl_memory_desc_t *bias = what->bias ? &d->bias : NULL;
    if (what->kernel == 0) {
        dnnl_inner_product_desc_t operation;
        CHECK(dnnl_inner_product_backward_weights_desc_init(&operation, &d->gradient_src,
                                                            &d->master, bias, &d->gradient_dst));
        TRY(make(dnn, &operation, attributes, hint, made));
    } else {
        dnnl_convolution_desc_t operation;
        dnnl_dims_t far;
        far_pads(what, far);
        CHECK(dnnl_convolution_backward_weights_desc_init(
            &operation, dnnl_convolution_direct, &d->gradient_src, &d->master, bias,
            &d->gradient_dst, d->strides, d->pads, far));
        TRY(make(dnn, &operation, attributes, hint, made));
    }
    return ask(*made, (enum dnn_operand[]){DNN_SRC, DNN_DIFF_WEIGHTS, DNN_DIFF_BIAS, DNN_DIFF_DST,
                                           DNN_OPERANDS});
}

/* The layouts of the maps: of the convolution, also where its primitives see matrices. */
static enum retort_status keep_maps(struct dnn *dnn, const struct dnn_weighted *what,
                                    struct dnn_weighted_primitives *made)
{
    struct weighted_descs d;
    TRY(describe_maps(what, &d));
    TRY(keep_layout(dnn, &d.src, &made->src));
    TRY(keep_layout(dnn, &d.dst, &made->dst));
    TRY(keep_layout(dnn, &d.gradient_src, &made->gradient_src));
    return keep_layout(dnn, &d.gradient_dst, &made->gradient_dst);
}

/* The gradient of the weights of a product without a bias; oneDNN 2.6's matrix product is up to
 * twice as fast on AMX as its inner product's gradient. */
static enum retort_status make_product_weights(struct dnn *dnn, const struct dnn_weighted *what,
                                               const_dnnl_primitive_attr_t attributes,
                                               struct dnn_primitive **made)
{
    const int rows = what->src.n, ic = what->src.c, oc = what->dst.c;
    dnnl_memory_desc_t turned, src, gradient;
    dnnl_matmul_desc_t operation;
    CHECK(dnnl_memory_desc_init_by_strides(&turned, 2, (dnnl_dims_t){oc, rows},
                                           type_of(what->dst.type), (dnnl_dims_t){1, oc}));
    TRY(plain_desc(type_of(what->src.type), 2, (const int[]){rows, ic}, &src));
    TRY(plain_desc(dnnl_f32, 2, (const int[]){oc, ic}, &gradient));
    CHECK(dnnl_matmul_desc_init(&operation, &turned, &src, NULL, &gradient));
    TRY(make(dnn, &operation, attributes, NULL, made));
    (*made)->argument_of = argument_of_product;
    return ask(*made, (enum dnn_operand[]){DNN_SRC, DNN_DIFF_WEIGHTS, DNN_DIFF_DST, DNN_OPERANDS});
}

enum retort_status dnn_weighted_create(struct dnn *dnn, const struct dnn_weighted *convolution,
                                       struct dnn_weighted_primitives *made)
{
    const struct dnn_weighted product = as_product(convolution), *what = &product;
    struct weighted_descs d;
    struct dnn_weighted_primitives m = {0};
    TRY(keep_maps(dnn, convolution, &m));
    TRY(describe(what, &d));
    TRY(keep_layout(dnn, &d.plain, &m.plain));
    TRY(make_forward(dnn, what, &d, &m.forward));
    m.master = dnn_wanted(m.forward, DNN_WEIGHTS);
    if (what->train) {
        dnnl_primitive_attr_t attributes = NULL;
        enum retort_status status = make_attributes(false, false, &attributes);
        if (status == RETORT_OK)
            status = what->kernel != convolution->kernel && !what->bias
                         ? make_product_weights(dnn, what, attributes, &m.backward_weights)
                         : make_backward_weights(dnn, what, &d, attributes, m.forward,
                                                 &m.backward_weights);
        if (status == RETORT_OK && what->diff_src)
            status = make_backward_data(dnn, what, &d, attributes, m.forward, &m.backward_data);
        dnnl_primitive_attr_destroy(attributes);
        TRY(status);
        m.master = dnn_wanted(m.backward_weights, DNN_DIFF_WEIGHTS);
    }
    *made = m;
    return RETORT_OK;
}

/* ---- pooling, reorder ---- */

enum retort_status dnn_pool_create(struct dnn *dnn, const struct dnn_pool *what,
                                   struct dnn_primitive **forward, struct dnn_primitive **backward)
{
    dnnl_memory_desc_t src, dst;
    TRY(map_desc(&what->src, &src));
    TRY(map_desc(&what->dst, &dst));
    dnnl_alg_kind_t kind = what->average ? dnnl_pooling_avg_exclude_padding : dnnl_pooling_max;
    dnnl_dims_t kernel = {what->kernel_h, what->kernel_w},
                strides = {what->stride_h, what->stride_w};
    dnnl_dims_t pads = {0, 0}, dilation = {0, 0};
    dnnl_pooling_v2_desc_t operation;
    dnnl_primitive_attr_t attributes = NULL;
    enum retort_status status = make_attributes(false, false, &attributes);
    if (status == RETORT_OK)
        status = check(dnnl_pooling_v2_forward_desc_init(
                           &operation, what->train ? dnnl_forward_training : dnnl_forward_inference,
                           kind, &src, &dst, strides, kernel, dilation, pads, pads),
                       "pooling");
    if (status == RETORT_OK)
        status = make(dnn, &operation, attributes, NULL, forward);
    if (status == RETORT_OK && what->train)
        status = check(dnnl_pooling_v2_backward_desc_init(&operation, kind, &src, &dst, strides,
                                                          kernel, dilation, pads, pads),
                       "pooling backward");
    if (status == RETORT_OK && what->train)
        status = make(dnn, &operation, attributes, *forward, backward);
    dnnl_primitive_attr_destroy(attributes);
    TRY(status);
    TRY(ask(*forward, (enum dnn_operand[]){DNN_SRC, DNN_DST, DNN_WORKSPACE, DNN_OPERANDS}));
    if (!what->train)
        return RETORT_OK;
    return ask(*backward,
               (enum dnn_operand[]){DNN_DIFF_SRC, DNN_DIFF_DST, DNN_WORKSPACE, DNN_OPERANDS});
}

enum retort_status dnn_reorder_create(struct dnn *dnn, const struct dnn_layout *from,
                                      const struct dnn_layout *to, struct dnn_primitive **primitive)
{
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t desc = NULL;
    enum retort_status status = make_attributes(false, false, &attributes);
    if (status == RETORT_OK)
        status = check(dnnl_reorder_primitive_desc_create(&desc, &from->desc, dnn->engine,
                                                          &to->desc, dnn->engine, attributes),
                       "reorder");
    dnnl_primitive_attr_destroy(attributes);
    TRY(status);
    TRY(register_desc(dnn, desc, primitive));
    return ask(*primitive, (enum dnn_operand[]){DNN_SRC, DNN_DST, DNN_OPERANDS});
}

enum retort_status dnn_convert(struct dnn *dnn, const struct dnn_layout *from, const void *src,
                               const struct dnn_layout *to, void *dst)
{
    dnnl_primitive_desc_t desc = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t source = NULL, target = NULL;
    enum retort_status status;
    TRY_DONE(check(dnnl_reorder_primitive_desc_create(&desc, &from->desc, dnn->engine, &to->desc,
                                                      dnn->engine, NULL),
                   "reorder"));
    TRY_DONE(check(dnnl_primitive_create(&primitive, desc), "reorder"));
    TRY_DONE(check(dnnl_memory_create(&source, &from->desc, dnn->engine, (void *)src), "memory"));
    TRY_DONE(check(dnnl_memory_create(&target, &to->desc, dnn->engine, dst), "memory"));
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
    TRY_DONE(check(dnnl_primitive_execute(primitive, dnn->stream, 2, arguments), "reorder"));
    status = check(dnnl_stream_wait(dnn->stream), "reorder");
done:
    dnnl_memory_destroy(target);
    dnnl_memory_destroy(source);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(desc);
    return status;
}
