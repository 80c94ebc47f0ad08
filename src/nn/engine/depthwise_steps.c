/* depthwise_steps.c - the steps of depthwise.h.
 *
 * Only in training: at inference batch norms are folded into the convolutions, and oneDNN's
 * depthwise kernel has nothing left to fuse. */
#include "nn/engine/depthwise_steps.h"

#include "nn/cost.h"
#include "nn/engine/batch_norm_kernel.h"
#include "nn/engine/depthwise.h"

/* From the forward half to the backward half. */
struct notes {
    struct depthwise what;
    struct lazy_norm norm;
    int x, weights, diff_weights;
};

bool depthwise_takes(const struct builder *builder, const struct unit *unit)
{
    const struct node *node = &builder->graph->nodes[unit->node];
    const struct conv_attributes *a = node->attributes;
    if (node->kind != OP_conv || builder->options.convolutions == CONVOLUTIONS_DIRECT ||
        !builder_trains(builder))
        return false;
    const int source = node->inputs[0];
    return a->kernel == 3 && a->pad == 1 && (a->stride == 1 || a->stride == 2) && !a->bias &&
           a->groups == a->out_channels && a->groups == builder->graph->nodes[source].shape.c &&
           source > 0 && unit->relu < 0 && (builder->block == 8 || builder->block == 16);
}

const struct unit *depthwise_reader(const struct builder *builder, int node)
{
    const struct unit *reader = builder_only_reader(builder, node);
    return reader && reader->residual != node && depthwise_takes(builder, reader) ? reader : NULL;
}

/* ---- how the steps run ---- */

struct constants {
    struct depthwise what;
    bool relu, next_relu;
};

enum { F_X, F_COEFFICIENTS, F_WEIGHTS, F_Y, F_SUMS, F_SCRATCH, F_COUNT };
enum {
    B_X,
    B_COEFFICIENTS,
    B_G,
    B_Y,
    B_NEXT,
    B_WEIGHTS,
    B_DIFF_SRC,
    B_DIFF_WEIGHTS,
    B_SUMS,
    B_SCRATCH,
    B_COUNT
};

static void run_forward(const struct step *step, void *const *ptr)
{
    const struct constants *constants = step->constants;
    depthwise_forward(&constants->what,
                      &(struct depthwise_forward){.x = ptr[F_X],
                                                  .norm = {ptr[F_COEFFICIENTS], constants->relu},
                                                  .weights = ptr[F_WEIGHTS],
                                                  .y = ptr[F_Y],
                                                  .sums = ptr[F_SUMS],
                                                  .scratch = ptr[F_SCRATCH]});
}

static void run_backward(const struct step *step, void *const *ptr)
{
    const struct constants *constants = step->constants;
    depthwise_backward(&constants->what,
                       &(struct depthwise_backward){.x = ptr[B_X],
                                                    .norm = {ptr[B_COEFFICIENTS], constants->relu},
                                                    .g = ptr[B_G],
                                                    .y = ptr[B_Y],
                                                    .next = {ptr[B_NEXT], constants->next_relu},
                                                    .weights = ptr[B_WEIGHTS],
                                                    .diff_src = ptr[B_DIFF_SRC],
                                                    .diff_weights = ptr[B_DIFF_WEIGHTS],
                                                    .sums = ptr[B_SUMS],
                                                    .scratch = ptr[B_SCRATCH]});
}

/* ---- appending them ---- */

static double flops_of(const struct builder *builder, const struct unit *unit)
{
    return 2.0 * (double)cost_node_macs(builder->graph, unit->node) * builder->options.batch;
}

static enum retort_status norm_sums(struct builder *builder, const struct tensor *map, int *sums)
{
    const struct batch_norm_shape shape = {.map = *map, .threads = builder->threads};
    return builder_buffer(builder, batch_norm_scratch(&shape) * sizeof(float), sums);
}

static enum retort_status scratch_of(struct builder *builder, const struct depthwise *what,
                                     int *scratch)
{
    return builder_buffer(builder, depthwise_scratch(what) * sizeof(float), scratch);
}

static bool is_batch_norm(const struct builder *builder, const struct unit *unit, int node)
{
    return unit && unit->residual != node &&
           builder->graph->nodes[unit->node].kind == OP_batch_norm;
}

enum retort_status depthwise_forward_steps(struct builder *builder, const struct unit *unit)
{
    const struct node *node = &builder->graph->nodes[unit->node];
    const struct conv_attributes *a = node->attributes;
    const struct value *src = builder_input(builder, unit, 0);
    struct dnn_weighted_primitives weights = {0};
    struct notes *notes;
    struct value *dst;
    int scratch;
    TRY(arena_take(builder->arena, sizeof(*notes), (void **)&notes));
    builder->notes[unit->node] = notes;
    TRY(builder_output(builder, unit, false, NO_BUFFER, &dst));
    TRY(dnn_depthwise_weights(builder->dnn, a->groups, a->kernel, builder->block, &weights.plain,
                              &weights.master));
    TRY(builder_weights(builder, node->first_parameter, &weights, &notes->weights,
                        &notes->diff_weights));
    notes->what = (struct depthwise){.src = src->tensor,
                                     .dst = depthwise_result(&src->tensor, a->stride),
                                     .stride = a->stride,
                                     .threads = builder->threads};
    notes->x = src->buffer;
    notes->norm = src->seen_through;
    if (is_batch_norm(builder, builder_only_reader(builder, unit->output), unit->output))
        TRY(norm_sums(builder, &dst->tensor, &dst->sums));
    TRY(scratch_of(builder, &notes->what, &scratch));
    const struct constants constants = {notes->what, notes->norm.relu, false};
    struct step_request request = {.kind = "conv depthwise",
                                   .run = run_forward,
                                   .constants = &constants,
                                   .constant_bytes = sizeof(constants),
                                   .buffer_count = F_COUNT,
                                   .flops = flops_of(builder, unit)};
    const int buffers[F_COUNT] = {[F_X] = notes->x,
                                  [F_COEFFICIENTS] = notes->norm.coefficients,
                                  [F_WEIGHTS] = notes->weights,
                                  [F_Y] = dst->buffer,
                                  [F_SUMS] = dst->sums,
                                  [F_SCRATCH] = scratch};
    memcpy(request.buffers, buffers, sizeof(buffers));
    return builder_step(builder, node->name, &request);
}

/* The gradient of the result: what the next batch norm left of it, or a plain one. */
static enum retort_status place_gradients(struct builder *builder, const struct unit *unit,
                                          const struct notes *notes, int *g, int *diff_src)
{
    const struct value *dst = builder_value(builder, unit->output);
    bool own = true;
    if (dst->diff_through.coefficients != NO_BUFFER) {
        *g = dst->diffs[0];
        own = !dst->diff_shared[0];
    } else {
        TRY(builder_diff(builder, unit, NO_BUFFER, g));
    }
    if (own && notes->what.stride == 1) {
        *diff_src = *g;
        return RETORT_OK;
    }
    return builder_buffer(builder, tensor_bytes(&notes->what.src), diff_src);
}

enum retort_status depthwise_backward_steps(struct builder *builder, const struct unit *unit)
{
    const struct notes *notes = builder->notes[unit->node];
    const struct value *dst = builder_value(builder, unit->output);
    struct value *src = builder_input(builder, unit, 0);
    int g, diff_src, scratch;
    TRY(place_gradients(builder, unit, notes, &g, &diff_src));
    TRY(scratch_of(builder, &notes->what, &scratch));
    if (notes->norm.coefficients != NO_BUFFER)
        TRY(norm_sums(builder, &src->tensor, &src->diff_sums));
    const struct lazy_norm next = dst->diff_through;
    const struct constants constants = {notes->what, notes->norm.relu, next.relu};
    struct step_request request = {.kind = "conv depthwise backward",
                                   .run = run_backward,
                                   .constants = &constants,
                                   .constant_bytes = sizeof(constants),
                                   .buffer_count = B_COUNT,
                                   .flops = 2 * flops_of(builder, unit)};
    const int buffers[B_COUNT] = {
        [B_X] = notes->x,
        [B_COEFFICIENTS] = notes->norm.coefficients,
        [B_G] = g,
        [B_Y] = next.coefficients == NO_BUFFER ? NO_BUFFER : dst->buffer,
        [B_NEXT] = next.coefficients,
        [B_WEIGHTS] = notes->weights,
        [B_DIFF_SRC] = diff_src,
        [B_DIFF_WEIGHTS] = notes->diff_weights,
        [B_SUMS] = src->diff_sums,
        [B_SCRATCH] = scratch,
    };
    memcpy(request.buffers, buffers, sizeof(buffers));
    TRY(builder_step(builder, builder->graph->nodes[unit->node].name, &request));
    return builder_add_diff(src, diff_src, false);
}
