/* executor.c - memory, parameters and the two passes of a compiled graph. */
#include "nn/engine/executor.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/hash.h"
#include "nn/engine/builder.h"

struct executor {
    struct builder builder;
    struct arena arena;
    const struct graph *graph;
    char *regions[REGIONS];
    size_t workspace_bytes;
    void *own_workspace;
    struct parameter_segment *segments;
    int segment_count;
    uint32_t step;
    bool profile;
    bool loaded; /* parameters, and no pass has run since */
    enum retort_status status;
};

/* ---- making one ---- */

static enum retort_status check_options(const struct graph *graph,
                                        const struct executor_options *options)
{
    if (options->batch < 1)
        return fail(RETORT_INVALID, "batch: %d found, at least 1 wanted", options->batch);
    for (int i = 0; i < options->tap_count; i++)
        if (options->taps[i] < 0 || options->taps[i] >= graph->tap_count)
            return fail(RETORT_INVALID, "tap %d: %s has %d taps", options->taps[i], graph->network,
                        graph->tap_count);
    if (options->precision == PRECISION_BF16 && !dnn_has_bf16())
        return fail(RETORT_UNSUPPORTED,
                    "precision bf16: this processor has no bf16 instructions (AVX-512 BF16)");
    return RETORT_OK;
}

/* The caller's arrays need not outlive the call. */
static enum retort_status copy_options(struct executor *executor,
                                       const struct executor_options *options)
{
    struct executor_options *mine = &executor->builder.options;
    size_t count = (size_t)options->tap_count;
    int *taps;
    bool *diffs;
    *mine = *options;
    if (mine->convolutions == CONVOLUTIONS_FASTEST)
        mine->convolutions = mine->precision == PRECISION_BF16 && dnn_has_amx()
                                 ? CONVOLUTIONS_CHANNELS_LAST
                                 : CONVOLUTIONS_OWN;
    TRY(arena_take(&executor->arena, count * sizeof(*taps), (void **)&taps));
    TRY(arena_take(&executor->arena, count * sizeof(*diffs), (void **)&diffs));
    TRY(arena_take(&executor->arena, count * sizeof(int), (void **)&executor->builder.tap_diffs));
    for (size_t i = 0; i < count; i++) {
        taps[i] = options->taps[i];
        diffs[i] = options->tap_diffs && options->tap_diffs[i];
    }
    mine->taps = taps;
    mine->tap_diffs = diffs;
    return RETORT_OK;
}

static enum retort_status compile(struct executor *executor)
{
    struct builder *builder = &executor->builder;
    const struct graph *graph = executor->graph;
    size_t nodes = (size_t)graph->node_count, parameters = (size_t)graph->parameter_count;
    builder->graph = graph;
    builder->block = dnn_block();
    builder->threads = omp_get_max_threads();
    builder->arena = &executor->arena;
    builder->step = &executor->step;
    TRY(arena_take(&executor->arena, nodes * sizeof(*builder->values), (void **)&builder->values));
    TRY(arena_take(&executor->arena, nodes * sizeof(*builder->notes), (void **)&builder->notes));
    TRY(arena_take(&executor->arena, nodes * sizeof(*builder->last_reader),
                   (void **)&builder->last_reader));
    TRY(arena_take(&executor->arena, parameters * sizeof(*builder->slots),
                   (void **)&builder->slots));
    for (size_t i = 0; i < parameters; i++)
        builder->slots[i] =
            (struct slot){.buffer = NO_BUFFER, .diff_buffer = NO_BUFFER, .fold = -1};
    TRY(dnn_open(&builder->dnn));
    TRY(builder_run(builder));
    return plan(builder->buffers, builder->buffer_count, &executor->workspace_bytes);
}

static enum retort_status make_regions(struct executor *executor)
{
    const size_t *bytes = executor->builder.region_bytes;
    TRY(memory_aligned(bytes[REGION_VALUES], (void **)&executor->regions[REGION_VALUES]));
    TRY(memory_aligned(bytes[REGION_STATE], (void **)&executor->regions[REGION_STATE]));
    TRY(memory_aligned(bytes[REGION_PREPARED], (void **)&executor->regions[REGION_PREPARED]));
    if (builder_trains(&executor->builder))
        TRY(memory_aligned(bytes[REGION_VALUES], (void **)&executor->regions[REGION_GRADIENTS]));
    size_t parameters = (size_t)executor->graph->parameter_count;
    TRY(arena_take(&executor->arena, parameters * sizeof(*executor->segments),
                   (void **)&executor->segments));
    for (int i = 0; i < executor->graph->parameter_count; i++) {
        const struct slot *slot = &executor->builder.slots[i];
        if (slot->buffer != NO_BUFFER && parameter_trains(&executor->graph->parameters[i]))
            executor->segments[executor->segment_count++] =
                (struct parameter_segment){slot->offset, slot->count, i};
    }
    return RETORT_OK;
}

enum retort_status executor_create(const struct graph *graph,
                                   const struct executor_options *options,
                                   struct executor **executor)
{
    struct executor *made = NULL;
    TRY(check_options(graph, options));
    TRY(memory_zeroed(1, sizeof(*made), (void **)&made));
    made->graph = graph;
    enum retort_status status;
    TRY_DONE(copy_options(made, options));
    TRY_DONE(compile(made));
    TRY_DONE(make_regions(made));
    *executor = made;
    return RETORT_OK;
done:
    executor_destroy(made);
    return status;
}

void executor_destroy(struct executor *executor)
{
    if (!executor)
        return;
    dnn_close(executor->builder.dnn);
    free(executor->builder.buffers);
    free(executor->builder.steps);
    free(executor->regions[REGION_VALUES]);
    free(executor->regions[REGION_GRADIENTS]);
    free(executor->regions[REGION_STATE]);
    free(executor->regions[REGION_PREPARED]);
    free(executor->own_workspace);
    arena_release(&executor->arena);
    free(executor);
}

struct tensor executor_layout(const struct graph *graph, int tap, int batch,
                              enum precision precision)
{
    struct shape shape = graph_tap_shape(graph, tap);
    return (struct tensor){precision, batch, shape.c, shape.h, shape.w, dnn_block(), NULL};
}

/* ---- workspace ---- */

size_t executor_workspace(const struct executor *executor)
{
    return executor->workspace_bytes;
}

static void *address(const struct executor *executor, int buffer)
{
    if (buffer == NO_BUFFER)
        return NULL;
    const struct buffer *b = &executor->builder.buffers[buffer];
    char *region = executor->regions[b->region];
    return region ? region + b->offset : NULL;
}

static enum retort_status bind_step(struct executor *executor, struct step *step)
{
    for (int i = 0; i < step->buffer_count; i++) {
        step->ptr[i] = address(executor, step->buffers[i]);
        if (step->primitive)
            TRY(dnn_attach(step->primitive, step->operands[i], step->ptr[i]));
    }
    return RETORT_OK;
}

enum retort_status executor_bind(struct executor *executor, void *workspace)
{
    if (!workspace) {
        TRY(memory_aligned(executor->workspace_bytes, &executor->own_workspace));
        workspace = executor->own_workspace;
    }
    executor->regions[REGION_WORKSPACE] = workspace;
    for (int i = 0; i < executor->builder.step_count; i++)
        TRY(bind_step(executor, &executor->builder.steps[i]));
    return RETORT_OK;
}

/* ---- parameters ---- */

/* Plain numbers to the place of a parameter, in the order and type that it is kept in. */
static enum retort_status put(const struct executor *executor, const struct slot *slot,
                              const float *plain, size_t count, void *target)
{
    if (slot->kept)
        return dnn_convert(executor->builder.dnn, slot->plain, plain, slot->kept, target);
    memcpy(target, plain, count * sizeof(float));
    return RETORT_OK;
}

static enum retort_status get(const struct executor *executor, const struct slot *slot,
                              const void *source, size_t count, float *plain)
{
    if (slot->kept)
        return dnn_convert(executor->builder.dnn, slot->kept, source, slot->plain, plain);
    memcpy(plain, source, count * sizeof(float));
    return RETORT_OK;
}

static const float *value_of_role(const struct model *model, int node, enum parameter_role role)
{
    const struct node *n = &model->graph.nodes[node];
    for (int i = 0; i < n->parameter_count; i++)
        if (model->graph.parameters[n->first_parameter + i].role == role)
            return model->values[n->first_parameter + i];
    return NULL;
}

/* Batch norm at inference is x * factor + offset per channel. */
static void affine(const struct model *model, int norm, int channel, double *factor, double *offset)
{
    const struct batch_norm_attributes *a = model->graph.nodes[norm].attributes;
    double variance = value_of_role(model, norm, PARAMETER_RUNNING_VAR)[channel];
    *factor = value_of_role(model, norm, PARAMETER_SCALE)[channel] / sqrt(variance + a->epsilon);
    *offset = value_of_role(model, norm, PARAMETER_SHIFT)[channel] -
              value_of_role(model, norm, PARAMETER_RUNNING_MEAN)[channel] * *factor;
}

/* What an inference executor keeps of parameter `index`: batch norms are folded in. */
static void fold(const struct executor *executor, const struct model *model, int index,
                 float *folded)
{
    const struct parameter *parameter = &model->graph.parameters[index];
    const bool own = parameter->role == PARAMETER_SCALE || parameter->role == PARAMETER_SHIFT;
    const int norm = own ? parameter->node : executor->builder.slots[index].fold;
    size_t count = parameter_count(parameter), row = count / (size_t)parameter->dims[0];
    for (int channel = 0; channel < parameter->dims[0]; channel++) {
        double factor = 1, offset = 0;
        if (norm >= 0)
            affine(model, norm, channel, &factor, &offset);
        for (size_t i = (size_t)channel * row; i < ((size_t)channel + 1) * row; i++) {
            double x = model->values[index][i];
            folded[i] = (float)(parameter->role == PARAMETER_SCALE   ? factor
                                : parameter->role == PARAMETER_SHIFT ? offset
                                : parameter->role == PARAMETER_BIAS  ? x * factor + offset
                                                                     : x * factor);
        }
    }
}

static enum retort_status load_one(struct executor *executor, const struct model *model, int index)
{
    const struct slot *slot = &executor->builder.slots[index];
    size_t count = parameter_count(&model->graph.parameters[index]);
    if (slot->buffer == NO_BUFFER)
        return RETORT_OK;
    void *target = address(executor, slot->buffer);
    if (builder_trains(&executor->builder))
        return put(executor, slot, model->values[index], count, target);
    float *folded;
    TRY(memory_zeroed(count, sizeof(float), (void **)&folded));
    fold(executor, model, index, folded);
    enum retort_status status = put(executor, slot, folded, count, target);
    free(folded);
    return status;
}

enum retort_status executor_load(struct executor *executor, const struct model *model)
{
    for (int i = 0; i < executor->graph->parameter_count; i++)
        TRY(load_one(executor, model, i));
    executor->loaded = true;
    return RETORT_OK;
}

enum retort_status executor_store(struct executor *executor, struct model *model)
{
    if (!builder_trains(&executor->builder))
        return fail(RETORT_INVALID,
                    "an inference executor holds folded parameters: they cannot be taken back");
    for (int i = 0; i < executor->graph->parameter_count; i++) {
        const struct slot *slot = &executor->builder.slots[i];
        TRY(get(executor, slot, address(executor, slot->buffer),
                parameter_count(&executor->graph->parameters[i]), model->values[i]));
    }
    return RETORT_OK;
}

struct parameter_view executor_parameters(const struct executor *executor)
{
    return (struct parameter_view){(float *)executor->regions[REGION_VALUES],
                                   (float *)executor->regions[REGION_GRADIENTS],
                                   executor->builder.region_bytes[REGION_VALUES] / sizeof(float),
                                   executor->segment_count, executor->segments};
}

enum retort_status executor_flat_to_plain(const struct executor *executor, const float *flat,
                                          float *const *plain)
{
    for (int i = 0; i < executor->segment_count; i++) {
        const struct parameter_segment *s = &executor->segments[i];
        const struct slot *slot = &executor->builder.slots[s->parameter];
        if (plain[s->parameter])
            TRY(get(executor, slot, flat + s->offset,
                    parameter_count(&executor->graph->parameters[s->parameter]),
                    plain[s->parameter]));
    }
    return RETORT_OK;
}

enum retort_status executor_plain_to_flat(const struct executor *executor, float *const *plain,
                                          float *flat)
{
    for (int i = 0; i < executor->segment_count; i++) {
        const struct parameter_segment *s = &executor->segments[i];
        const struct slot *slot = &executor->builder.slots[s->parameter];
        if (plain[s->parameter])
            TRY(put(executor, slot, plain[s->parameter],
                    parameter_count(&executor->graph->parameters[s->parameter]), flat + s->offset));
    }
    return RETORT_OK;
}

float *executor_statistics(const struct executor *executor, size_t *count)
{
    *count = executor->builder.region_bytes[REGION_STATE] / sizeof(float);
    return (float *)executor->regions[REGION_STATE];
}

uint64_t executor_hash(const struct executor *executor)
{
    uint64_t hash = hash_bytes(HASH_START, executor->regions[REGION_VALUES],
                               executor->builder.region_bytes[REGION_VALUES]);
    return hash_bytes(hash, executor->regions[REGION_STATE],
                      executor->builder.region_bytes[REGION_STATE]);
}

/* ---- the passes ---- */

static void run_steps(struct executor *executor, int from, int to)
{
    cpu_flush_denormals();
    for (int i = from; i < to && executor->status == RETORT_OK; i++) {
        struct step *step = &executor->builder.steps[i];
        if (step->once && !executor->loaded)
            continue;
        double start = executor->profile ? omp_get_wtime() : 0;
        if (step->primitive)
            executor->status = dnn_run(step->primitive);
        else if (step->run)
            step->run(step, step->ptr);
        if (executor->profile) {
            step->seconds += omp_get_wtime() - start;
            step->runs++;
        }
    }
}

/* Only the few steps that read the images are told where they lie this time. */
static enum retort_status show_images(struct executor *executor, const float *images)
{
    if (executor->regions[REGION_IMAGES] == (const char *)images)
        return RETORT_OK;
    executor->regions[REGION_IMAGES] = (char *)images;
    for (int i = 0; i < executor->builder.step_count; i++) {
        struct step *step = &executor->builder.steps[i];
        for (int j = 0; j < step->buffer_count; j++) {
            int buffer = step->buffers[j];
            if (buffer == NO_BUFFER || executor->builder.buffers[buffer].region != REGION_IMAGES)
                continue;
            step->ptr[j] = (void *)images;
            if (step->primitive)
                TRY(dnn_attach(step->primitive, step->operands[j], (void *)images));
        }
    }
    return RETORT_OK;
}

void executor_forward(struct executor *executor, const float *images, uint32_t step)
{
    executor->step = step;
    if (executor->status == RETORT_OK)
        executor->status = show_images(executor, images);
    run_steps(executor, 0, executor->builder.forward_count);
    executor->loaded = false;
}

void executor_backward(struct executor *executor)
{
    run_steps(executor, executor->builder.forward_count, executor->builder.step_count);
}

enum retort_status executor_status(const struct executor *executor)
{
    return executor->status;
}

/* ---- what it hands out ---- */

float *executor_logits(const struct executor *executor)
{
    return address(executor, executor->builder.values[executor->graph->node_count - 1].buffer);
}

float *executor_diff_logits(const struct executor *executor)
{
    return address(executor, executor->builder.logits_diff);
}

struct tensor executor_tap(const struct executor *executor, int i)
{
    int node = executor->graph->taps[executor->builder.options.taps[i]].node;
    const struct value *value = &executor->builder.values[node];
    struct tensor tensor = value->tensor;
    tensor.data = address(executor, value->buffer);
    return tensor;
}

struct tensor executor_diff_tap(const struct executor *executor, int i)
{
    struct tensor tensor = executor_tap(executor, i);
    tensor.data = address(executor, executor->builder.tap_diffs[i]);
    return tensor;
}

struct tensor executor_input_diff(const struct executor *executor)
{
    struct tensor tensor = executor->builder.values[0].tensor;
    tensor.data = address(executor, executor->builder.values[0].diffs[0]);
    return tensor;
}

/* ---- looking at it ---- */

int executor_step_count(const struct executor *executor)
{
    return executor->builder.step_count;
}

struct executor_step executor_step(const struct executor *executor, int i)
{
    const struct step *step = &executor->builder.steps[i];
    return (struct executor_step){step->kind,  step->name,    step->flops,
                                  step->bytes, step->seconds, step->runs};
}

void executor_profile(struct executor *executor, bool on)
{
    executor->profile = on;
    for (int i = 0; i < executor->builder.step_count; i++) {
        executor->builder.steps[i].seconds = 0;
        executor->builder.steps[i].runs = 0;
    }
}
