/* add.c - the sum of two maps. */
#include "nn/engine/elementwise.h"
#include "nn/op/op.h"

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    const struct shape a = inputs[0], b = inputs[1];
    if (a.c != b.c || a.h != b.h || a.w != b.w)
        return fail(RETORT_INVALID, "maps of %dx%dx%d and %dx%dx%d cannot be added", a.c, a.h, a.w,
                    b.c, b.h, b.w);
    *output = a;
    return RETORT_OK;
}

/* ---- how it runs: only where nothing before it could take it in ---- */

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct value *a = builder_input(builder, unit, 0), *b = builder_input(builder, unit, 1);
    struct value *dst;
    TRY(builder_output(builder, unit, a->tensor.block == 1, NO_BUFFER, &dst));
    struct elementwise what = {dst->tensor, 2, false};
    return elementwise_step(builder, "add", builder->graph->nodes[unit->node].name, &what,
                            (int[]){a->buffer, b->buffer}, NO_BUFFER, dst->buffer);
}

/* Both inputs have the gradient of the sum: one buffer serves both, so neither may overwrite it. */
static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    int diff;
    TRY(builder_diff(builder, unit, NO_BUFFER, &diff));
    TRY(builder_add_diff(builder_input(builder, unit, 0), diff, true));
    return builder_add_diff(builder_input(builder, unit, 1), diff, true);
}

const struct op op_add = {
    .name = "add",
    .onnx = "Add",
    .inputs = 2,
    .vectors = true,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
