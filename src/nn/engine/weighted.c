/* weighted.c - convolution and linear layers as steps.
 *
 * The optimizer's weights (master, f32) lie as the gradient pass writes them. Where a kernel wants
 * another order or bf16, a reorder step of the weights comes first: they are small beside the maps.
 * For matrix units the maps are brought into another order, too, and the result back.
 * A residual that nobody reads any more is added by the convolution itself, into its own place. The
 * last layer computes in f32 always: losses want its logits so. */
#include "nn/engine/weighted.h"

#include "nn/cost.h"
#include "nn/engine/elementwise.h"
#include "nn/engine/winograd_steps.h"

/* From the forward half to the backward half. */
struct notes {
    struct dnn_weighted what;
    struct dnn_weighted_primitives made;
    bool tiled; /* by Winograd's convolution: of `made` only the layouts are there */
    struct winograd winograd;
    int src, weights, diff_weights, diff_bias;
};

static const struct node *node_of(const struct builder *builder, const struct unit *unit)
{
    return &builder->graph->nodes[unit->node];
}

static double flops_of(const struct builder *builder, const struct unit *unit)
{
    return 2.0 * (double)cost_node_macs(builder->graph, unit->node) * builder->options.batch;
}

/* The bias that the kernel reads: the node's own, or the shift of the batch norm folded into it. */
static enum retort_status place_bias(struct builder *builder, const struct unit *unit, int *bias,
                                     int *diff_bias)
{
    const struct node *node = node_of(builder, unit);
    *bias = *diff_bias = NO_BUFFER;
    if (node->parameter_count == 2) {
        int parameter = node->first_parameter + 1;
        builder->slots[parameter].fold = unit->batch_norm;
        return builder_vector(builder, parameter, bias, diff_bias);
    }
    if (unit->batch_norm < 0)
        return RETORT_OK;
    const struct node *norm = &builder->graph->nodes[unit->batch_norm];
    for (int i = 0; i < norm->parameter_count; i++)
        if (builder->graph->parameters[norm->first_parameter + i].role == PARAMETER_SHIFT)
            return builder_vector(builder, norm->first_parameter + i, bias, diff_bias);
    return fail(RETORT_UNSUPPORTED, "a batch norm without a shift cannot be folded");
}

/* The source in the type in which this layer computes. */
static enum retort_status cast_source(struct builder *builder, const struct unit *unit,
                                      enum precision type, struct notes *notes)
{
    struct value *src = builder_input(builder, unit, 0);
    notes->what.src = src->tensor;
    notes->what.src.type = type;
    notes->src = src->buffer;
    if (src->tensor.type == type)
        return RETORT_OK;
    const struct dnn_layout *from, *to;
    TRY(dnn_map(builder->dnn, &src->tensor, &from));
    TRY(dnn_map(builder->dnn, &notes->what.src, &to));
    return builder_reorder(builder, node_of(builder, unit)->name, src->buffer, from, to,
                           &notes->src);
}

/* The part of the tail that the primitive could not take in. */
static enum retort_status add_residual(struct builder *builder, const struct unit *unit,
                                       const struct value *dst)
{
    int sources[] = {dst->buffer, NO_BUFFER};
    TRY(builder_whole(builder, unit->residual, &sources[1]));
    struct elementwise sum = {dst->tensor, 2, unit->relu >= 0};
    return elementwise_step(builder, "add", builder->graph->nodes[unit->add].name, &sum, sources,
                            NO_BUFFER, dst->buffer);
}

static enum retort_status forward_tiled(struct builder *builder, const struct unit *unit,
                                        const struct notes *notes, int bias,
                                        const struct value *dst)
{
    const int residual =
        unit->add >= 0 ? builder_value(builder, unit->residual)->buffer : NO_BUFFER;
    const struct winograd_operands operands = {notes->src, notes->weights, bias, residual,
                                               dst->buffer};
    struct winograd what = notes->winograd;
    what.residual_view = unit->add >= 0 ? builder_value(builder, unit->residual)->view : NULL;
    return winograd_forward_steps(builder, node_of(builder, unit)->name, &what, &operands,
                                  notes->what.relu, flops_of(builder, unit));
}

static enum retort_status forward_direct(struct builder *builder, const struct unit *unit,
                                         const char *kind, const struct notes *notes, int bias,
                                         const struct value *dst)
{
    const char *name = node_of(builder, unit)->name;
    const struct dnn_weighted_primitives *made = &notes->made;
    const struct dnn_layout *src_map, *dst_map;
    int src, weights, result = dst->buffer;
    TRY(dnn_map(builder->dnn, &notes->what.src, &src_map));
    TRY(dnn_map(builder->dnn, &notes->what.dst, &dst_map));
    builder_prepare_begin(builder);
    TRY(builder_reorder(builder, name, notes->weights, made->master,
                        dnn_wanted(made->forward, DNN_WEIGHTS), &weights));
    builder_prepare_end(builder);
    TRY(builder_reorder(builder, name, notes->src, src_map, made->src, &src));
    if (!dnn_equal(made->dst, dst_map))
        TRY(builder_buffer(builder, dnn_bytes(made->dst), &result));
    TRY(builder_primitive(builder, name,
                          &(struct primitive_request){kind,
                                                      made->forward,
                                                      notes->what.bias ? 4 : 3,
                                                      {DNN_SRC, DNN_WEIGHTS, DNN_DST, DNN_BIAS},
                                                      {src, weights, result, bias},
                                                      flops_of(builder, unit),
                                                      0}));
    return builder_reorder_into(builder, name, result, made->dst, dst_map, dst->buffer);
}

/* Plain images are left to the blocked kernels: they have too few channels. */
static bool wants_channels_last(const struct builder *builder, const struct dnn_weighted *what)
{
    return builder->options.convolutions == CONVOLUTIONS_CHANNELS_LAST &&
           what->src.type == PRECISION_BF16 && what->src.block > 1 && what->kernel > 0 &&
           what->groups <= 1;
}

enum retort_status weighted_forward(struct builder *builder, const struct unit *unit,
                                    const char *kind, const struct dnn_weighted *shape)
{
    const struct node *node = node_of(builder, unit);
    const bool last = unit->output == builder->graph->node_count - 1, linear = shape->kernel == 0;
    const enum precision type = last ? PRECISION_F32 : builder->options.precision;
    const bool view = unit->add >= 0 && builder_value(builder, unit->residual)->view;
    struct notes *notes;
    struct value *dst;
    TRY(arena_take(builder->arena, sizeof(*notes), (void **)&notes));
    builder->notes[unit->node] = notes;
    notes->what = *shape;
    TRY(cast_source(builder, unit, type, notes));
    notes->what.channels_last = wants_channels_last(builder, &notes->what);
    const bool in_place = unit->add >= 0 && !view && !notes->what.channels_last &&
                          builder_dies_here(builder, unit, unit->residual);
    TRY(builder_output(builder, unit, linear,
                       in_place ? builder_value(builder, unit->residual)->buffer : NO_BUFFER,
                       &dst));
    dst->tensor.type = type;
    builder->buffers[dst->buffer].bytes = tensor_bytes(&dst->tensor);

    struct dnn_weighted *what = &notes->what;
    what->dst = dst->tensor;
    what->bias = node->parameter_count == 2 || unit->batch_norm >= 0;
    what->train = builder_trains(builder);
    what->diff_src = what->train && builder_input(builder, unit, 0)->wants_diff;
    notes->tiled = winograd_takes(builder, what, &notes->winograd);
    const bool sums = in_place || notes->tiled;
    what->sum = unit->add >= 0 && sums;
    what->relu = unit->relu >= 0 && (unit->add < 0 || sums);
    TRY(notes->tiled ? dnn_blocked_weights(builder->dnn, what->dst.c, what->src.c, what->kernel,
                                           what->src.block, &notes->made.plain, &notes->made.master)
                     : dnn_weighted_create(builder->dnn, what, &notes->made));

    int bias;
    builder->slots[node->first_parameter].fold = unit->batch_norm;
    TRY(builder_weights(builder, node->first_parameter, &notes->made, &notes->weights,
                        &notes->diff_weights));
    TRY(place_bias(builder, unit, &bias, &notes->diff_bias));
    TRY(notes->tiled ? forward_tiled(builder, unit, notes, bias, dst)
                     : forward_direct(builder, unit, kind, notes, bias, dst));
    return unit->add >= 0 && !what->sum ? add_residual(builder, unit, dst) : RETORT_OK;
}

/* The gradient of the source, in the type in which the source lies. */
static enum retort_status backward_data(struct builder *builder, const struct unit *unit,
                                        const char *kind, const struct notes *notes, int diff)
{
    const char *name = node_of(builder, unit)->name;
    struct value *src = builder_input(builder, unit, 0);
    const struct dnn_layout *from = notes->made.src, *to;
    int weights, diff_src;
    TRY(dnn_map(builder->dnn, &src->tensor, &to));
    TRY(builder_buffer(builder, dnn_bytes(notes->tiled ? to : from), &diff_src));
    if (notes->tiled) {
        TRY(winograd_backward_data_steps(builder, name, &notes->winograd, diff, notes->weights,
                                         diff_src, flops_of(builder, unit)));
        return builder_add_diff(src, diff_src, false);
    }
    TRY(builder_reorder(builder, name, notes->weights, notes->made.master,
                        dnn_wanted(notes->made.backward_data, DNN_WEIGHTS), &weights));
    TRY(builder_primitive(builder, name,
                          &(struct primitive_request){kind,
                                                      notes->made.backward_data,
                                                      3,
                                                      {DNN_DIFF_DST, DNN_WEIGHTS, DNN_DIFF_SRC},
                                                      {diff, weights, diff_src},
                                                      flops_of(builder, unit),
                                                      0}));
    TRY(builder_reorder(builder, name, diff_src, from, to, &diff_src));
    return builder_add_diff(src, diff_src, false);
}

static enum retort_status backward_weights(struct builder *builder, const struct unit *unit,
                                           const char *kind, const struct notes *notes, int diff)
{
    const char *name = node_of(builder, unit)->name;
    if (notes->tiled)
        return winograd_backward_weights_steps(builder, name, &notes->winograd, notes->src, diff,
                                               notes->diff_weights, notes->diff_bias,
                                               flops_of(builder, unit));
    const struct dnn_weighted_primitives *made = &notes->made;
    const struct dnn_layout *map;
    int src;
    TRY(dnn_map(builder->dnn, &notes->what.src, &map));
    TRY(builder_reorder(builder, name, notes->src, map, made->gradient_src, &src));
    TRY(builder_reorder(builder, name, diff, made->dst, made->gradient_dst, &diff));
    return builder_primitive(
        builder, name,
        &(struct primitive_request){kind,
                                    made->backward_weights,
                                    notes->what.bias ? 4 : 3,
                                    {DNN_SRC, DNN_DIFF_DST, DNN_DIFF_WEIGHTS, DNN_DIFF_BIAS},
                                    {src, diff, notes->diff_weights, notes->diff_bias},
                                    flops_of(builder, unit),
                                    0});
}

enum retort_status weighted_backward(struct builder *builder, const struct unit *unit,
                                     const char *kind)
{
    const struct notes *notes = builder->notes[unit->node];
    int diff, gate = unit->relu >= 0 ? builder_value(builder, unit->output)->buffer : NO_BUFFER;
    char *weights = arena_format(builder->arena, "%s backward weights", kind);
    char *data = arena_format(builder->arena, "%s backward data", kind);
    if (!weights || !data)
        return fail(RETORT_MEMORY, "out of memory for a step");
    TRY(builder_diff(builder, unit, gate, &diff));
    if (!notes->tiled) {
        const struct dnn_layout *map;
        TRY(dnn_map(builder->dnn, &notes->what.dst, &map));
        TRY(builder_reorder(builder, node_of(builder, unit)->name, diff, map, notes->made.dst,
                            &diff));
    }
    TRY(backward_weights(builder, unit, weights, notes, diff));
    return notes->what.diff_src ? backward_data(builder, unit, data, notes, diff) : RETORT_OK;
}
