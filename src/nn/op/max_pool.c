/* max_pool.c - the largest of each square window. */
#include "nn/engine/pool.h"
#include "nn/op/op.h"

static const struct setting rows[] = {
    {"kernel", SETTING_INT, offsetof(struct max_pool_attributes, kernel), 1, 64, "2",
     "side of the window"},
    {"stride", SETTING_INT, offsetof(struct max_pool_attributes, stride), 1, 64, "2",
     "step between windows"},
};
static const struct setting_table table =
    SETTING_TABLE("max_pool", struct max_pool_attributes, rows);

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    const struct max_pool_attributes *a = attributes;
    const struct shape in = inputs[0];
    if (in.h < a->kernel || in.w < a->kernel)
        return fail(RETORT_INVALID, "a map of %dx%d is too small for windows of %d", in.h, in.w,
                    a->kernel);
    *output = (struct shape){in.c, (in.h - a->kernel) / a->stride + 1,
                             (in.w - a->kernel) / a->stride + 1};
    return RETORT_OK;
}

/* ---- how it runs ---- */

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct max_pool_attributes *a = builder->graph->nodes[unit->node].attributes;
    return pool_forward(builder, unit, "max pool",
                        &(struct dnn_pool){.kernel_h = a->kernel,
                                           .kernel_w = a->kernel,
                                           .stride_h = a->stride,
                                           .stride_w = a->stride});
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    return pool_backward(builder, unit, "max pool backward");
}

const struct op op_max_pool = {
    .name = "max_pool",
    .onnx = "MaxPool",
    .inputs = 1,
    .attributes = &table,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
