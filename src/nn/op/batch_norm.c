/* batch_norm.c - batch normalisation (Ioffe and Szegedy 2015). */
#include <string.h>

#include "nn/engine/batch_norm_kernel.h"
#include "nn/engine/builder.h"
#include "nn/engine/depthwise_steps.h"
#include "nn/op/op.h"

static const struct setting rows[] = {
    {"epsilon", SETTING_NUMBER, offsetof(struct batch_norm_attributes, epsilon), 1e-12, 1, "1e-5",
     "added to the variance"},
    {"momentum", SETTING_NUMBER, offsetof(struct batch_norm_attributes, momentum), 0, 1, "0.1",
     "share of the new batch in the running statistics"},
};
static const struct setting_table table =
    SETTING_TABLE("batch_norm", struct batch_norm_attributes, rows);

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    *output = inputs[0];
    return RETORT_OK;
}

static int parameters(const void *attributes, const struct shape *inputs,
                      struct parameter_spec *specs)
{
    int c = inputs[0].c;
    specs[0] = (struct parameter_spec){"weight", PARAMETER_SCALE, 1, {c}, 0};
    specs[1] = (struct parameter_spec){"bias", PARAMETER_SHIFT, 1, {c}, 0};
    specs[2] = (struct parameter_spec){"running_mean", PARAMETER_RUNNING_MEAN, 1, {c}, 0};
    specs[3] = (struct parameter_spec){"running_var", PARAMETER_RUNNING_VAR, 1, {c}, 0};
    return 4;
}

/* ---- how it runs: with the sum and the ReLU that follow it ---- */

/* From the forward half to the backward half. */
struct notes {
    struct batch_norm_shape shape;
    int x, scale, shift, diff_scale, diff_shift, mean, inverse, coefficients;
};

/* The buffers of a step in the order in which its function finds them. */
enum {
    F_X,
    F_RESIDUAL,
    F_Y,
    F_SCALE,
    F_SHIFT,
    F_RUNNING_MEAN,
    F_RUNNING_VAR,
    F_MEAN,
    F_INVERSE,
    F_COEFFICIENTS,
    F_SCRATCH,
    F_COUNT
};
enum {
    B_X,
    B_Y,
    B_SCALE,
    B_MEAN,
    B_INVERSE,
    B_COEFFICIENTS,
    B_G,
    B_DX,
    B_DIFF_SCALE,
    B_DIFF_SHIFT,
    B_SCRATCH,
    B_DIFFS
};

static void run_forward(const struct step *step, void *const *ptr)
{
    batch_norm_forward(step->constants,
                       &(struct batch_norm_forward){.x = ptr[F_X],
                                                    .residual = ptr[F_RESIDUAL],
                                                    .y = ptr[F_Y],
                                                    .scale = ptr[F_SCALE],
                                                    .shift = ptr[F_SHIFT],
                                                    .running_mean = ptr[F_RUNNING_MEAN],
                                                    .running_var = ptr[F_RUNNING_VAR],
                                                    .mean = ptr[F_MEAN],
                                                    .inverse = ptr[F_INVERSE],
                                                    .coefficients = ptr[F_COEFFICIENTS],
                                                    .scratch = ptr[F_SCRATCH]});
}

static void run_backward(const struct step *step, void *const *ptr)
{
    const struct batch_norm_shape *shape = step->constants;
    struct batch_norm_backward data = {.x = ptr[B_X],
                                       .y = ptr[B_Y],
                                       .scale = ptr[B_SCALE],
                                       .mean = ptr[B_MEAN],
                                       .inverse = ptr[B_INVERSE],
                                       .coefficients = ptr[B_COEFFICIENTS],
                                       .g = ptr[B_G],
                                       .dx = ptr[B_DX],
                                       .diff_scale = ptr[B_DIFF_SCALE],
                                       .diff_shift = ptr[B_DIFF_SHIFT],
                                       .scratch = ptr[B_SCRATCH]};
    for (int i = 0; i < shape->diff_count; i++)
        data.diffs[i] = ptr[B_DIFFS + i];
    batch_norm_backward(shape, &data);
}

/* Inference, where no convolution takes it in: scale and shift are loaded as factor and offset. */
static void run_apply(const struct step *step, void *const *ptr)
{
    batch_norm_apply(step->constants, ptr[F_X], ptr[F_RESIDUAL], ptr[F_Y], ptr[F_SCALE],
                     ptr[F_SHIFT]);
}

static enum retort_status place_parameters(struct builder *builder, const struct unit *unit,
                                           struct notes *notes, int *running_mean, int *running_var)
{
    const int first = builder->graph->nodes[unit->node].first_parameter;
    TRY(builder_vector(builder, first, &notes->scale, &notes->diff_scale));
    TRY(builder_vector(builder, first + 1, &notes->shift, &notes->diff_shift));
    *running_mean = *running_var = NO_BUFFER;
    if (!builder_trains(builder))
        return RETORT_OK;
    TRY(builder_vector(builder, first + 2, running_mean, NULL));
    return builder_vector(builder, first + 3, running_var, NULL);
}

/* What training keeps from pass to pass. The sums may be there already, from who made the source.
 */
static enum retort_status place_statistics(struct builder *builder, const struct unit *unit,
                                           struct notes *notes, int *scratch)
{
    const struct tensor *map = &notes->shape.map;
    const size_t vector = (size_t)tensor_channels(map) * sizeof(float);
    TRY(builder_buffer(builder, vector, &notes->mean));
    TRY(builder_buffer(builder, vector, &notes->inverse));
    TRY(builder_buffer(builder, batch_norm_coefficients(map) * sizeof(float),
                       &notes->coefficients));
    *scratch = builder_input(builder, unit, 0)->sums;
    notes->shape.sums_known = *scratch != NO_BUFFER;
    if (notes->shape.sums_known)
        return RETORT_OK;
    return builder_buffer(builder, batch_norm_scratch(&notes->shape) * sizeof(float), scratch);
}

static enum retort_status place_residual(struct builder *builder, const struct unit *unit,
                                         struct notes *notes, int *residual)
{
    *residual = NO_BUFFER;
    if (unit->add < 0)
        return RETORT_OK;
    if (!builder_trains(builder))
        return builder_whole(builder, unit->residual, residual);
    *residual = builder_value(builder, unit->residual)->buffer;
    notes->shape.residual_view = builder_value(builder, unit->residual)->view;
    return RETORT_OK;
}

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct node *node = &builder->graph->nodes[unit->node];
    const struct batch_norm_attributes *a = node->attributes;
    const struct value *src = builder_input(builder, unit, 0);
    const bool train = builder_trains(builder);
    const bool lazy = unit->add < 0 && depthwise_reader(builder, unit->output);
    struct notes *notes;
    struct value *dst;
    int running_mean, running_var, residual, scratch = NO_BUFFER;
    TRY(arena_take(builder->arena, sizeof(*notes), (void **)&notes));
    builder->notes[unit->node] = notes;
    TRY(builder_output(builder, unit, false, lazy ? src->buffer : NO_BUFFER, &dst));
    TRY(place_parameters(builder, unit, notes, &running_mean, &running_var));
    notes->x = src->buffer;
    notes->shape = (struct batch_norm_shape){.map = dst->tensor,
                                             .epsilon = (float)a->epsilon,
                                             .momentum = (float)a->momentum,
                                             .relu = unit->relu >= 0,
                                             .residual = unit->add >= 0,
                                             .threads = builder->threads};
    notes->mean = notes->inverse = notes->coefficients = NO_BUFFER;
    TRY(place_residual(builder, unit, notes, &residual));
    if (train)
        TRY(place_statistics(builder, unit, notes, &scratch));
    if (lazy)
        dst->seen_through = (struct lazy_norm){notes->coefficients, notes->shape.relu};
    const int passes = (train && !notes->shape.sums_known) + (lazy ? 0 : 2) + (unit->add >= 0);
    struct step_request request = {.kind = lazy ? "batch norm statistics" : "batch norm",
                                   .run = train ? run_forward : run_apply,
                                   .constants = &notes->shape,
                                   .constant_bytes = sizeof(notes->shape),
                                   .buffer_count = F_COUNT,
                                   .bytes = (double)passes * (double)tensor_bytes(&dst->tensor)};
    const int buffers[F_COUNT] = {
        [F_X] = src->buffer,
        [F_RESIDUAL] = residual,
        [F_Y] = lazy ? NO_BUFFER : dst->buffer,
        [F_SCALE] = notes->scale,
        [F_SHIFT] = notes->shift,
        [F_RUNNING_MEAN] = running_mean,
        [F_RUNNING_VAR] = running_var,
        [F_MEAN] = notes->mean,
        [F_INVERSE] = notes->inverse,
        [F_COEFFICIENTS] = notes->coefficients,
        [F_SCRATCH] = scratch,
    };
    memcpy(request.buffers, buffers, sizeof(buffers));
    return builder_step(builder, node->name, &request);
}

/* Where the gradient before normalisation (g) and the source's gradient (dx) go: into contributions
 * that are ours where there are any. One plain contribution and no residual need no g at all. */
static enum retort_status place_gradients(struct builder *builder, const struct unit *unit,
                                          const struct value *dst, int *g, int *dx)
{
    const size_t bytes = tensor_bytes(&dst->tensor);
    const int first = builder_own_diff(dst, 0);
    const bool residual = unit->add >= 0;
    *g = *dx = NO_BUFFER;
    if (dst->diff_count > 1 || residual || dst->diff_views[0]) {
        *g = first;
        if (*g == NO_BUFFER)
            TRY(builder_buffer(builder, bytes, g));
    }
    if (!residual)
        *dx = *g != NO_BUFFER ? *g : first;
    for (int i = 0; residual && i < dst->diff_count && *dx == NO_BUFFER; i++)
        if (!dst->diff_shared[i] && dst->diffs[i] != *g)
            *dx = dst->diffs[i];
    return *dx == NO_BUFFER ? builder_buffer(builder, bytes, dx) : RETORT_OK;
}

/* May who made the source take the gradient as it is before batch norm? */
static bool leaves_gradient(struct builder *builder, const struct unit *unit,
                            const struct value *dst)
{
    return builder_input(builder, unit, 0)->sums != NO_BUFFER && unit->add < 0 &&
           dst->diff_count == 1 && !dst->diff_views[0];
}

static enum retort_status hand_gradients_on(struct builder *builder, const struct unit *unit,
                                            const struct notes *notes, const struct value *dst,
                                            int g, int dx)
{
    struct value *src = builder_input(builder, unit, 0);
    if (unit->add >= 0)
        TRY(builder_add_diff(builder_value(builder, unit->residual), g, false));
    if (dx != NO_BUFFER)
        return builder_add_diff(src, dx, false);
    src->diff_through = (struct lazy_norm){notes->coefficients, notes->shape.relu};
    return builder_add_diff(src, dst->diffs[0], dst->diff_shared[0]);
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    struct notes *notes = builder->notes[unit->node];
    const struct value *dst = builder_value(builder, unit->output);
    const bool reads_y = unit->add >= 0 && unit->relu >= 0;
    int g = NO_BUFFER, dx = NO_BUFFER, scratch = dst->diff_sums;
    notes->shape.sums_known = scratch != NO_BUFFER;
    notes->shape.diff_count = dst->diff_count;
    memcpy(notes->shape.diff_views, dst->diff_views, sizeof(dst->diff_views));
    if (!leaves_gradient(builder, unit, dst))
        TRY(place_gradients(builder, unit, dst, &g, &dx));
    if (!notes->shape.sums_known)
        TRY(builder_buffer(builder, batch_norm_scratch(&notes->shape) * sizeof(float), &scratch));
    const int sums =
        notes->shape.sums_known ? 0 : 1 + dst->diff_count + (reads_y ? 1 : 0) + (g != NO_BUFFER);
    const int passes = sums + (dx == NO_BUFFER ? 0 : 3);
    struct step_request request = {.kind = dx == NO_BUFFER ? "batch norm backward sums"
                                                           : "batch norm backward",
                                   .run = run_backward,
                                   .constants = &notes->shape,
                                   .constant_bytes = sizeof(notes->shape),
                                   .buffer_count = B_DIFFS + dst->diff_count,
                                   .bytes = (double)passes * (double)tensor_bytes(&dst->tensor)};
    const int buffers[B_DIFFS] = {
        [B_X] = notes->x,
        [B_Y] = reads_y ? dst->buffer : NO_BUFFER,
        [B_SCALE] = notes->scale,
        [B_MEAN] = notes->mean,
        [B_INVERSE] = notes->inverse,
        [B_COEFFICIENTS] = notes->coefficients,
        [B_G] = g,
        [B_DX] = dx,
        [B_DIFF_SCALE] = notes->diff_scale,
        [B_DIFF_SHIFT] = notes->diff_shift,
        [B_SCRATCH] = scratch,
    };
    memcpy(request.buffers, buffers, sizeof(buffers));
    memcpy(request.buffers + B_DIFFS, dst->diffs, (size_t)dst->diff_count * sizeof(int));
    TRY(builder_step(builder, builder->graph->nodes[unit->node].name, &request));
    return hand_gradients_on(builder, unit, notes, dst, g, dx);
}

const struct op op_batch_norm = {
    .name = "batch_norm",
    .onnx = "BatchNormalization",
    .inputs = 1,
    .attributes = &table,
    .infer = infer,
    .parameters = parameters,
    .forward = forward,
    .backward = backward,
};
