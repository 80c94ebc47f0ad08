/* input.c - the images. */
#include "nn/engine/builder.h"
#include "nn/op/op.h"

/* A graph begins with its only input, whose shape is given: nothing is left to infer. */
static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    return fail(RETORT_INVALID, "a graph has one input, its first node");
}

/* ---- how it runs ---- */

/* Can all who read the input take it as it comes, plain? The kernels of a first convolution and
 * those of linear layers can. */
static bool stays_plain(const struct builder *builder, const struct node *input)
{
    for (int i = 1; i < builder->graph->node_count; i++) {
        const struct node *node = &builder->graph->nodes[i];
        if (node->inputs[0] != 0 && (node->input_count < 2 || node->inputs[1] != 0))
            continue;
        bool first = node->kind == OP_conv && input->shape.c <= 3 && !builder->options.input_diff;
        if (!first && node->kind != OP_linear)
            return false;
    }
    return true;
}

/* The caller's images are plain f32; where they may not stay so, one reorder step makes them fit.
 */
static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct node *node = &builder->graph->nodes[unit->node];
    const struct dnn_layout *from, *to;
    struct value *value;
    int images;
    TRY(builder_images(builder, &images));
    TRY(builder_output(builder, unit, stays_plain(builder, node), images, &value));
    value->wants_diff = builder_trains(builder) && builder->options.input_diff;
    struct tensor plain = value->tensor;
    plain.type = PRECISION_F32;
    plain.block = 1;
    TRY(dnn_map(builder->dnn, &plain, &from));
    TRY(dnn_map(builder->dnn, &value->tensor, &to));
    return builder_reorder(builder, node->name, images, from, to, &value->buffer);
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    struct value *value = builder_value(builder, unit->output);
    if (!value->wants_diff)
        return RETORT_OK;
    TRY(builder_diff(builder, unit, NO_BUFFER, &value->diffs[0]));
    value->diff_count = 1;
    return RETORT_OK;
}

const struct op op_input = {
    .name = "input",
    .inputs = 0,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
