/* global_avg_pool.c - the mean of each channel. */
#include "nn/engine/pool.h"
#include "nn/op/op.h"

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    *output = (struct shape){inputs[0].c, 1, 1};
    return RETORT_OK;
}

/* ---- how it runs ---- */

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct tensor *map = &builder_input(builder, unit, 0)->tensor;
    return pool_forward(builder, unit, "average",
                        &(struct dnn_pool){.kernel_h = map->h,
                                           .kernel_w = map->w,
                                           .stride_h = map->h,
                                           .stride_w = map->w,
                                           .average = true});
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    return pool_backward(builder, unit, "average backward");
}

const struct op op_global_avg_pool = {
    .name = "global_avg_pool",
    .onnx = "GlobalAveragePool",
    .inputs = 1,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
