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

/* ---- how it runs: not at all where who adds it can pick its numbers ---- */

static struct shortcut describe(struct builder *builder, const struct unit *unit)
{
    const struct shortcut_a_attributes *a = builder->graph->nodes[unit->node].attributes;
    return (struct shortcut){builder_input(builder, unit, 0)->tensor,
                             builder_value(builder, unit->output)->tensor, a->stride};
}

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct unit *only = builder_only_reader(builder, unit->output);
    const bool reader = only && only->residual == unit->output;
    const int src = builder_input(builder, unit, 0)->buffer;
    struct value *dst;
    TRY(builder_output(builder, unit, false, reader ? src : NO_BUFFER, &dst));
    struct shortcut what = describe(builder, unit), *kept;
    if (!reader)
        return shortcut_step(builder, builder->graph->nodes[unit->node].name, &what, false, src,
                             dst->buffer);
    TRY(arena_take(builder->arena, sizeof(*kept), (void **)&kept));
    *kept = what;
    dst->view = kept;
    return RETORT_OK;
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    struct value *src = builder_input(builder, unit, 0);
    struct shortcut *what;
    int diff;
    if (!src->wants_diff)
        return RETORT_OK;
    TRY(builder_diff(builder, unit, NO_BUFFER, &diff));
    TRY(arena_take(builder->arena, sizeof(*what), (void **)&what));
    *what = describe(builder, unit);
    return builder_add_diff_view(src, diff, what);
}

const struct op op_shortcut_a = {
    .name = "shortcut_a",
    .inputs = 1,
    .attributes = &table,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
