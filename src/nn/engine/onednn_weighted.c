/* onednn_weighted.c - oneDNN's convolutions and inner products: which primitive, of which element
 * type and on which order of channels, is fastest for the three passes of each. */
#include "nn/engine/onednn.h"

#include <dnnl.h>

#include "nn/engine/onednn_parts.h"

/* The gradient of weights as a matrix product: rows of diff_dst, turned, times rows of src. */
static const int argument_of_product[DNN_OPERANDS] = {
    [DNN_DIFF_DST] = DNNL_ARG_SRC,
    [DNN_SRC] = DNNL_ARG_WEIGHTS,
    [DNN_DIFF_WEIGHTS] = DNNL_ARG_DST,
    [DNN_SCRATCHPAD] = DNNL_ARG_SCRATCHPAD,
};

struct weighted_descs {
    dnnl_memory_desc_t src, dst, weights, bias, master, plain;
    dnnl_memory_desc_t gradient_src, gradient_dst; /* as the gradient of weights reads them */
    dnnl_dims_t strides, pads;
};

static enum retort_status channels_last_desc(const struct tensor *tensor, dnnl_memory_desc_t *desc)
{
    const dnnl_dims_t wide = {tensor->n, tensor->c, tensor->h, tensor->w};
    DNN_CHECK(dnnl_memory_desc_init_by_tag(desc, 4, wide, dnn_type(tensor->type), dnnl_nhwc));
    return RETORT_OK;
}

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
        what->channels_last ? channels_last_desc : dnn_map_desc;
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
    int rank = groups ? 5 : k == 0 && dnn_is_vector(&what->src) ? 2 : 4;
    dnnl_dims_t wide;
    for (int i = 0; i < rank; i++)
        wide[i] = first[i];
    TRY(dnn_plain_desc(dnnl_f32, rank, first, &d->plain));
    DNN_CHECK(dnnl_memory_desc_init_by_tag(&d->weights, rank, wide, dnn_type(what->src.type),
                                           dnnl_format_tag_any));
    DNN_CHECK(dnnl_memory_desc_init_by_tag(&d->master, rank, wide, dnnl_f32, dnnl_format_tag_any));
    TRY(dnn_plain_desc(dnnl_f32, 1, &oc, &d->bias));
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
    enum retort_status status = dnn_make_attributes(what->sum, what->relu, &attributes);
    if (status == RETORT_OK && what->kernel == 0) {
        dnnl_inner_product_desc_t operation;
        status = dnn_check(dnnl_inner_product_forward_desc_init(&operation, kind, &d->src,
                                                                &d->weights, bias, &d->dst),
                           "inner product");
        if (status == RETORT_OK)
            status = dnn_make_primitive(dnn, &operation, attributes, NULL, made);
    } else if (status == RETORT_OK) {
        dnnl_convolution_desc_t operation;
        dnnl_dims_t far;
        far_pads(what, far);
        status = dnn_check(dnnl_convolution_forward_desc_init(
                               &operation, kind, dnnl_convolution_direct, &d->src, &d->weights,
                               bias, &d->dst, d->strides, d->pads, far),
                           "convolution");
        if (status == RETORT_OK)
            status = dnn_make_primitive(dnn, &operation, attributes, NULL, made);
    }
    dnnl_primitive_attr_destroy(attributes);
    TRY(status);
    return dnn_ask_layouts(
        *made, (enum dnn_operand[]){DNN_SRC, DNN_WEIGHTS, DNN_BIAS, DNN_DST, DNN_OPERANDS});
}

static enum retort_status make_backward_data(struct dnn *dnn, const struct dnn_weighted *what,
                                             const struct weighted_descs *d,
                                             const_dnnl_primitive_attr_t attributes,
                                             const struct dnn_primitive *hint,
                                             struct dnn_primitive **made)
{
    if (what->kernel == 0) {
        dnnl_inner_product_desc_t operation;
        DNN_CHECK(
            dnnl_inner_product_backward_data_desc_init(&operation, &d->src, &d->weights, &d->dst));
        TRY(dnn_make_primitive(dnn, &operation, attributes, hint, made));
    } else {
        dnnl_convolution_desc_t operation;
        dnnl_dims_t far;
        far_pads(what, far);
        DNN_CHECK(dnnl_convolution_backward_data_desc_init(&operation, dnnl_convolution_direct,
                                                           &d->src, &d->weights, &d->dst,
                                                           d->strides, d->pads, far));
        TRY(dnn_make_primitive(dnn, &operation, attributes, hint, made));
    }
    return dnn_ask_layouts(
        *made, (enum dnn_operand[]){DNN_DIFF_SRC, DNN_WEIGHTS, DNN_DIFF_DST, DNN_OPERANDS});
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
        DNN_CHECK(dnnl_inner_product_backward_weights_desc_init(
            &operation, &d->gradient_src, &d->master, bias, &d->gradient_dst));
        TRY(dnn_make_primitive(dnn, &operation, attributes, hint, made));
    } else {
        dnnl_convolution_desc_t operation;
        dnnl_dims_t far;
        far_pads(what, far);
        DNN_CHECK(dnnl_convolution_backward_weights_desc_init(
            &operation, dnnl_convolution_direct, &d->gradient_src, &d->master, bias,
            &d->gradient_dst, d->strides, d->pads, far));
        TRY(dnn_make_primitive(dnn, &operation, attributes, hint, made));
    }
    return dnn_ask_layouts(*made, (enum dnn_operand[]){DNN_SRC, DNN_DIFF_WEIGHTS, DNN_DIFF_BIAS,
                                                       DNN_DIFF_DST, DNN_OPERANDS});
}

/* The layouts of the maps: of the convolution, also where its primitives see matrices. */
static enum retort_status keep_maps(struct dnn *dnn, const struct dnn_weighted *what,
                                    struct dnn_weighted_primitives *made)
{
    struct weighted_descs d;
    TRY(describe_maps(what, &d));
    TRY(dnn_keep_layout(dnn, &d.src, &made->src));
    TRY(dnn_keep_layout(dnn, &d.dst, &made->dst));
    TRY(dnn_keep_layout(dnn, &d.gradient_src, &made->gradient_src));
    return dnn_keep_layout(dnn, &d.gradient_dst, &made->gradient_dst);
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
    DNN_CHECK(dnnl_memory_desc_init_by_strides(&turned, 2, (dnnl_dims_t){oc, rows},
                                               dnn_type(what->dst.type), (dnnl_dims_t){1, oc}));
    TRY(dnn_plain_desc(dnn_type(what->src.type), 2, (const int[]){rows, ic}, &src));
    TRY(dnn_plain_desc(dnnl_f32, 2, (const int[]){oc, ic}, &gradient));
    DNN_CHECK(dnnl_matmul_desc_init(&operation, &turned, &src, NULL, &gradient));
    TRY(dnn_make_primitive(dnn, &operation, attributes, NULL, made));
    (*made)->argument_of = argument_of_product;
    return dnn_ask_layouts(
        *made, (enum dnn_operand[]){DNN_SRC, DNN_DIFF_WEIGHTS, DNN_DIFF_DST, DNN_OPERANDS});
}

enum retort_status dnn_weighted_create(struct dnn *dnn, const struct dnn_weighted *convolution,
                                       struct dnn_weighted_primitives *made)
{
    const struct dnn_weighted product = as_product(convolution), *what = &product;
    struct weighted_descs d;
    struct dnn_weighted_primitives m = {0};
    TRY(keep_maps(dnn, convolution, &m));
    TRY(describe(what, &d));
    TRY(dnn_keep_layout(dnn, &d.plain, &m.plain));
    TRY(make_forward(dnn, what, &d, &m.forward));
    m.master = dnn_wanted(m.forward, DNN_WEIGHTS);
    if (what->train) {
        dnnl_primitive_attr_t attributes = NULL;
        enum retort_status status = dnn_make_attributes(false, false, &attributes);
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
