/* shortcut_a.c - the parameter-free shortcut of CIFAR ResNets (He et al. 2016, option A). */
#include "nn/engine/elementwise.h"
#include "nn/op/op.h"

static const struct setting rows[] = {
    {"out_channels", SETTING_INT, offsetof(struct shortcut_a_attributes, out_channels), 1, 65536,
     NULL, "channels of the output; half of those added come before, half after"},
    {"stride", SETTING_INT, offsetof(struct shortcut_a_attributes, stride), 1, 64, "2",
     "every stride-th position"},
};
static const struct setting_table table =
    SETTING_TABLE("shortcut_a", struct shortcut_a_attributes, rows);

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    const struct shortcut_a_attributes *a = attributes;
    const struct shape in = inputs[0];
    int extra = a->out_channels - in.c;
    if (extra < 0 || extra % 2)
        return fail(RETORT_INVALID, "%d channels from %d: an even number of channels must be added",
                    a->out_channels, in.c);
    *output = (struct shape){a->out_channels, (in.h + a->stride - 1) / a->stride,
                             (in.w + a->stride - 1) / a->stride};
    return RETORT_OK;
}

/* ---- how it runs ---- */

static void run_forward(const struct step *step, void *const *ptr)
{
    shortcut_forward(step->constants, ptr[0], ptr[1]);
}

static void run_backward(const struct step *step, void *const *ptr)
{
    shortcut_backward(step->constants, ptr[0], ptr[1]);
}

static struct shortcut describe(struct builder *builder, const struct unit *unit)
{
    const struct shortcut_a_attributes *a = builder->graph->nodes[unit->node].attributes;
    return (struct shortcut){builder_input(builder, unit, 0)->tensor,
                             builder_value(builder, unit->output)->tensor, a->stride};
}

static enum retort_status append(struct builder *builder, const struct unit *unit, const char *kind,
                                 step_function *run, const struct shortcut *what, int from, int to)
{
    return builder_step(
        builder, builder->graph->nodes[unit->node].name,
        &(struct step_request){
            kind, run, what, sizeof(*what), {from, to}, 2, 0, (double)tensor_bytes(&what->src)});
}

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct value *src = builder_input(builder, unit, 0);
    struct value *dst;
    TRY(builder_output(builder, unit, false, NO_BUFFER, &dst));
    struct shortcut what = describe(builder, unit);
    return append(builder, unit, "shortcut", run_forward, &what, src->buffer, dst->buffer);
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    struct value *src = builder_input(builder, unit, 0);
    int diff, diff_src;
    if (!src->wants_diff)
        return RETORT_OK;
    TRY(builder_diff(builder, unit, NO_BUFFER, &diff));
    TRY(builder_buffer(builder, tensor_bytes(&src->tensor), &diff_src));
    struct shortcut what = describe(builder, unit);
    TRY(append(builder, unit, "shortcut backward", run_backward, &what, diff, diff_src));
    return builder_add_diff(src, diff_src, false);
}

const struct op op_shortcut_a = {
    .name = "shortcut_a",
    .inputs = 1,
    .attributes = &table,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
