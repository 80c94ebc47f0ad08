/* relu.c - max(0, x). */
#include "nn/engine/elementwise.h"
#include "nn/op/op.h"

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    *output = inputs[0];
    return RETORT_OK;
}

/* ---- how it runs: only where nothing before it could take it in ---- */

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct value *src = builder_input(builder, unit, 0);
    struct value *dst;
    TRY(builder_output(builder, unit, src->tensor.block == 1, NO_BUFFER, &dst));
    dst->tensor.type = src->tensor.type;
    struct elementwise what = {dst->tensor, 1, true};
    return elementwise_step(builder, "relu", builder->graph->nodes[unit->node].name, &what,
                            &src->buffer, NO_BUFFER, dst->buffer);
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    int diff;
    TRY(builder_diff(builder, unit, builder_value(builder, unit->output)->buffer, &diff));
    return builder_add_diff(builder_input(builder, unit, 0), diff, false);
}

const struct op op_relu = {
    .name = "relu",
    .onnx = "Relu",
    .inputs = 1,
    .vectors = true,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
