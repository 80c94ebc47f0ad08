/* builder.c - buffers, steps and gradients while an executor is compiled. */
#include "nn/engine/builder.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "nn/engine/elementwise.h"

static enum retort_status grow(void **items, int *room, int count, size_t size)
{
    if (count < *room)
        return RETORT_OK;
    int wanted = *room ? *room * 2 : 64;
    void *grown = realloc(*items, (size_t)wanted * size);
    if (!grown)
        return fail(RETORT_MEMORY, "out of memory: %zu bytes were wanted", (size_t)wanted * size);
    *items = grown;
    *room = wanted;
    return RETORT_OK;
}

/* ---- values and buffers ---- */

struct value *builder_value(struct builder *builder, int node)
{
    return &builder->values[node];
}

struct value *builder_input(struct builder *builder, const struct unit *unit, int input)
{
    return builder_value(builder, builder->graph->nodes[unit->node].inputs[input]);
}

static enum retort_status new_buffer(struct builder *builder, enum region region, size_t offset,
                                     size_t bytes, int *buffer)
{
    TRY(grow((void **)&builder->buffers, &builder->buffer_room, builder->buffer_count,
             sizeof(struct buffer)));
    builder->buffers[builder->buffer_count] = (struct buffer){region, bytes, offset, -1, -1};
    *buffer = builder->buffer_count++;
    return RETORT_OK;
}

enum retort_status builder_buffer(struct builder *builder, size_t bytes, int *buffer)
{
    if (!builder->prepares)
        return new_buffer(builder, REGION_WORKSPACE, 0, bytes, buffer);
    size_t *used = &builder->region_bytes[REGION_PREPARED];
    TRY(new_buffer(builder, REGION_PREPARED, *used, bytes, buffer));
    *used += memory_round(bytes);
    return RETORT_OK;
}

void builder_prepare_begin(struct builder *builder)
{
    builder->prepares = !builder_trains(builder);
}

void builder_prepare_end(struct builder *builder)
{
    builder->prepares = false;
}

enum retort_status builder_images(struct builder *builder, int *buffer)
{
    struct shape shape = builder->graph->input;
    size_t numbers =
        (size_t)builder->options.batch * (size_t)shape.c * (size_t)shape.h * (size_t)shape.w;
    return new_buffer(builder, REGION_IMAGES, 0, numbers * sizeof(float), buffer);
}

enum retort_status builder_output(struct builder *builder, const struct unit *unit, bool plain,
                                  int buffer, struct value **value)
{
    struct shape shape = builder->graph->nodes[unit->output].shape;
    struct value *made = builder_value(builder, unit->output);
    made->tensor = (struct tensor){.type = builder->options.precision,
                                   .n = builder->options.batch,
                                   .c = shape.c,
                                   .h = shape.h,
                                   .w = shape.w,
                                   .block = plain ? 1 : builder->block};
    made->wants_diff = builder_trains(builder);
    made->seen_through.coefficients = made->diff_through.coefficients = NO_BUFFER;
    made->sums = made->diff_sums = NO_BUFFER;
    if (buffer == NO_BUFFER)
        TRY(builder_buffer(builder, tensor_bytes(&made->tensor), &buffer));
    made->buffer = buffer;
    *value = made;
    return RETORT_OK;
}

const struct unit *builder_only_reader(const struct builder *builder, int node)
{
    const struct unit *reader = NULL;
    if (builder->last_reader[node] == INT_MAX)
        return NULL;
    for (int i = 0; i < builder->unit_count; i++) {
        const struct unit *unit = &builder->units[i];
        const struct node *main = &builder->graph->nodes[unit->node];
        int reads = unit->residual == node;
        for (int j = 0; j < main->input_count; j++)
            reads += main->inputs[j] == node;
        if (reads > 1 || (reads && reader))
            return NULL;
        if (reads)
            reader = unit;
    }
    return reader;
}

enum retort_status builder_whole(struct builder *builder, int node, int *buffer)
{
    struct value *value = builder_value(builder, node);
    if (value->view) {
        int made;
        TRY(builder_buffer(builder, tensor_bytes(&value->tensor), &made));
        TRY(shortcut_step(builder, builder->graph->nodes[node].name, value->view, false,
                          value->buffer, made));
        value->buffer = made;
        value->view = NULL;
    }
    *buffer = value->buffer;
    return RETORT_OK;
}

bool builder_dies_here(const struct builder *builder, const struct unit *unit, int node)
{
    const int buffer = builder->values[node].buffer;
    const int source = builder->graph->nodes[unit->node].inputs[0];
    if (builder->buffers[buffer].region == REGION_IMAGES ||
        builder->values[source].buffer == buffer)
        return false;
    for (int i = 0; i < builder->graph->node_count; i++)
        if (builder->values[i].buffer == buffer && builder->last_reader[i] > builder->unit)
            return false;
    return true;
}

/* ---- parameters ---- */

static enum retort_status place(struct builder *builder, int parameter, size_t count, int *buffer,
                                int *diff_buffer)
{
    struct slot *slot = &builder->slots[parameter];
    bool trained = parameter_trains(&builder->graph->parameters[parameter]);
    enum region region = trained ? REGION_VALUES : REGION_STATE;
    size_t bytes = count * sizeof(float);
    slot->count = count;
    slot->offset = builder->region_bytes[region] / sizeof(float);
    slot->diff_buffer = NO_BUFFER;
    TRY(new_buffer(builder, region, builder->region_bytes[region], bytes, &slot->buffer));
    if (trained && builder_trains(builder))
        TRY(new_buffer(builder, REGION_GRADIENTS, builder->region_bytes[region], bytes,
                       &slot->diff_buffer));
    builder->region_bytes[region] += memory_round(bytes);
    *buffer = slot->buffer;
    if (diff_buffer)
        *diff_buffer = slot->diff_buffer;
    return RETORT_OK;
}

enum retort_status builder_weights(struct builder *builder, int parameter,
                                   const struct dnn_weighted_primitives *how, int *buffer,
                                   int *diff_buffer)
{
    struct slot *slot = &builder->slots[parameter];
    slot->plain = how->plain;
    slot->kept = how->master;
    return place(builder, parameter, memory_round(dnn_bytes(how->master)) / sizeof(float), buffer,
                 diff_buffer);
}

enum retort_status builder_vector(struct builder *builder, int parameter, int *buffer,
                                  int *diff_buffer)
{
    size_t count = parameter_count(&builder->graph->parameters[parameter]);
    size_t block = MEMORY_ALIGNMENT / sizeof(float);
    return place(builder, parameter, (count + block - 1) / block * block, buffer, diff_buffer);
}

/* ---- steps ---- */

/* The buffer is in use at the step that is being added. */
static void touch(struct builder *builder, int buffer)
{
    struct buffer *touched = &builder->buffers[buffer];
    if (touched->first < 0)
        touched->first = builder->step_count;
    touched->last = builder->step_count;
}

static enum retort_status add_step(struct builder *builder, const struct step *step)
{
    TRY(grow((void **)&builder->steps, &builder->step_room, builder->step_count,
             sizeof(struct step)));
    for (int i = 0; i < step->buffer_count; i++)
        if (step->buffers[i] != NO_BUFFER)
            touch(builder, step->buffers[i]);
    builder->steps[builder->step_count] = *step;
    builder->steps[builder->step_count++].once = builder->prepares;
    return RETORT_OK;
}

enum retort_status builder_step(struct builder *builder, const char *name,
                                const struct step_request *request)
{
    struct step step = {.kind = request->kind,
                        .name = name,
                        .run = request->run,
                        .buffer_count = request->buffer_count,
                        .flops = request->flops,
                        .bytes = request->bytes};
    memcpy(step.buffers, request->buffers, sizeof(step.buffers));
    if (request->constant_bytes) {
        void *constants;
        TRY(arena_take(builder->arena, request->constant_bytes, &constants));
        memcpy(constants, request->constants, request->constant_bytes);
        step.constants = constants;
    }
    return add_step(builder, &step);
}

enum retort_status builder_primitive(struct builder *builder, const char *name,
                                     const struct primitive_request *request)
{
    const char *kind = arena_format(builder->arena, "%s %s", request->kind,
                                    dnn_implementation(request->primitive));
    if (!kind)
        return fail(RETORT_MEMORY, "out of memory for a step");
    struct step step = {.kind = kind,
                        .name = name,
                        .primitive = request->primitive,
                        .buffer_count = request->count,
                        .flops = request->flops,
                        .bytes = request->bytes};
    memcpy(step.operands, request->operands, sizeof(step.operands));
    memcpy(step.buffers, request->buffers, sizeof(step.buffers));
    size_t scratch = dnn_bytes(dnn_wanted(request->primitive, DNN_SCRATCHPAD));
    if (scratch > 0) {
        step.operands[step.buffer_count] = DNN_SCRATCHPAD;
        TRY(builder_buffer(builder, scratch, &step.buffers[step.buffer_count++]));
    }
    return add_step(builder, &step);
}

enum retort_status builder_reorder_into(struct builder *builder, const char *name, int buffer,
                                        const struct dnn_layout *from, const struct dnn_layout *to,
                                        int target)
{
    if (target == buffer)
        return RETORT_OK;
    struct dnn_primitive *primitive;
    TRY(dnn_reorder_create(builder->dnn, from, to, &primitive));
    return builder_primitive(
        builder, name,
        &(struct primitive_request){"reorder",
                                    primitive,
                                    2,
                                    {DNN_SRC, DNN_DST},
                                    {buffer, target},
                                    0,
                                    (double)(dnn_bytes(from) + dnn_bytes(to))});
}

enum retort_status builder_reorder(struct builder *builder, const char *name, int buffer,
                                   const struct dnn_layout *from, const struct dnn_layout *to,
                                   int *reordered)
{
    int made = buffer;
    if (!dnn_equal(from, to))
        TRY(builder_buffer(builder, dnn_bytes(to), &made));
    TRY(builder_reorder_into(builder, name, buffer, from, to, made));
    *reordered = made;
    return RETORT_OK;
}

/* ---- gradients ---- */

enum retort_status builder_add_diff(struct value *value, int buffer, bool shared)
{
    if (!value->wants_diff)
        return RETORT_OK;
    if (value->diff_count == VALUE_DIFFS)
        return fail(RETORT_UNSUPPORTED, "a value is read by more than %d nodes", VALUE_DIFFS);
    value->diffs[value->diff_count] = buffer;
    value->diff_views[value->diff_count] = NULL;
    value->diff_shared[value->diff_count++] = shared;
    return RETORT_OK;
}

enum retort_status builder_add_diff_view(struct value *value, int buffer,
                                         const struct shortcut *view)
{
    const int number = value->diff_count;
    TRY(builder_add_diff(value, buffer, true)); /* of another shape: nobody may write there */
    if (value->diff_count > number)
        value->diff_views[number] = view;
    return RETORT_OK;
}

/* Views carried out, for who reads contributions as they are. */
static enum retort_status plain_diffs(struct builder *builder, const char *name,
                                      struct value *value)
{
    for (int i = 0; i < value->diff_count; i++) {
        int plain;
        if (!value->diff_views[i])
            continue;
        TRY(builder_buffer(builder, tensor_bytes(&value->tensor), &plain));
        TRY(shortcut_step(builder, name, value->diff_views[i], true, value->diffs[i], plain));
        value->diffs[i] = plain;
        value->diff_views[i] = NULL;
        value->diff_shared[i] = false;
    }
    return RETORT_OK;
}

int builder_own_diff(const struct value *value, int from)
{
    for (int i = from; i < value->diff_count; i++)
        if (!value->diff_shared[i])
            return value->diffs[i];
    return NO_BUFFER;
}

enum retort_status builder_diff(struct builder *builder, const struct unit *unit, int gate,
                                int *buffer)
{
    struct value *value = builder_value(builder, unit->output);
    TRY(plain_diffs(builder, builder->graph->nodes[unit->output].name, value));
    int own = builder_own_diff(value, 0);
    if (own == NO_BUFFER)
        TRY(builder_buffer(builder, tensor_bytes(&value->tensor), &own));
    if (value->diff_count > 1 || value->diff_shared[0] || gate != NO_BUFFER) {
        struct elementwise what = {.map = value->tensor, .source_count = value->diff_count};
        TRY(elementwise_step(builder, "sum", builder->graph->nodes[unit->output].name, &what,
                             value->diffs, gate, own));
    }
    *buffer = own;
    return RETORT_OK;
}

/* ---- the whole ---- */

/* A residual that is a shortcut may be read at its source. */
static void find_last_readers(struct builder *builder, const struct unit *units, int count)
{
    const struct graph *graph = builder->graph;
    for (int i = 0; i < count; i++) {
        const struct node *node = &graph->nodes[units[i].node];
        for (int j = 0; j < node->input_count; j++)
            builder->last_reader[node->inputs[j]] = i;
        if (units[i].residual < 0)
            continue;
        const struct node *residual = &graph->nodes[units[i].residual];
        builder->last_reader[units[i].residual] = i;
        if (residual->kind == OP_shortcut_a)
            builder->last_reader[residual->inputs[0]] = i;
    }
    for (int i = 0; i < builder->options.tap_count; i++)
        builder->last_reader[graph->taps[builder->options.taps[i]].node] = INT_MAX;
    builder->last_reader[graph->node_count - 1] = INT_MAX;
}

static enum retort_status diff_from_caller(struct builder *builder, struct value *value,
                                           int *buffer)
{
    TRY(builder_buffer(builder, tensor_bytes(&value->tensor), buffer));
    touch(builder, *buffer);
    return builder_add_diff(value, *buffer, false);
}

/* Between the passes the caller reads logits and taps and fills the gradients of both. */
static enum retort_status hand_over(struct builder *builder)
{
    struct value *logits = builder_value(builder, builder->graph->node_count - 1);
    if (logits->tensor.block != 1 || logits->tensor.type != PRECISION_F32)
        return fail(RETORT_UNSUPPORTED, "the network's last node must be a linear layer");
    touch(builder, logits->buffer);
    builder->logits_diff = NO_BUFFER;
    for (int i = 0; i < builder->options.tap_count; i++) {
        struct value *tap =
            builder_value(builder, builder->graph->taps[builder->options.taps[i]].node);
        touch(builder, tap->buffer);
        builder->tap_diffs[i] = NO_BUFFER;
        if (builder->options.tap_diffs && builder->options.tap_diffs[i])
            TRY(diff_from_caller(builder, tap, &builder->tap_diffs[i]));
    }
    if (builder_trains(builder))
        TRY(diff_from_caller(builder, logits, &builder->logits_diff));
    return add_step(builder, &(struct step){.kind = "hand over", .name = ""});
}

static enum retort_status in_node(const struct builder *builder, const struct unit *unit,
                                  enum retort_status status)
{
    const struct node *node = &builder->graph->nodes[unit->node];
    return status == RETORT_OK
               ? status
               : fail_in(status, "node %s (%s)", node->name, op_of(node->kind)->name);
}

/* Vectors that linear layers make are plain, everything else but the images is blocked; few kernels
 * read both and none mixes them. */
static enum retort_status check_layouts(struct builder *builder, const struct unit *unit)
{
    const struct node *node = &builder->graph->nodes[unit->node];
    int operands[OP_INPUTS + 1], count = 0, plain = 0;
    for (int i = 0; i < node->input_count; i++)
        operands[count++] = node->inputs[i];
    if (unit->residual >= 0)
        operands[count++] = unit->residual;
    for (int i = 0; i < count; i++)
        plain += operands[i] > 0 && builder_value(builder, operands[i])->tensor.block == 1;
    if (plain > 0 && (plain < count || !op_of(node->kind)->vectors))
        return fail(RETORT_UNSUPPORTED, "it reads the vector of a linear layer: only linear, relu, "
                                        "dropout and add of two such vectors can");
    return RETORT_OK;
}

static enum retort_status build_forward(struct builder *builder, const struct unit *unit)
{
    TRY(check_layouts(builder, unit));
    return op_of(builder->graph->nodes[unit->node].kind)->forward(builder, unit);
}

/* Nothing comes back to a tap that nobody but the caller could read and did not ask for. */
static enum retort_status build_backward(struct builder *builder, const struct unit *unit)
{
    const struct value *value = builder_value(builder, unit->output);
    if (value->wants_diff && value->diff_count == 0)
        return RETORT_OK;
    return op_of(builder->graph->nodes[unit->node].kind)->backward(builder, unit);
}

enum retort_status builder_run(struct builder *builder)
{
    const struct graph *graph = builder->graph;
    struct unit *units;
    int count;
    TRY(fuse(graph, &builder->options, builder->arena, &units, &count));
    find_last_readers(builder, units, count);
    builder->units = units;
    builder->unit_count = count;
    for (int i = 0; i < count; i++) {
        builder->unit = i;
        TRY(in_node(builder, &units[i], build_forward(builder, &units[i])));
    }
    TRY(hand_over(builder));
    builder->forward_count = builder->step_count;
    for (int i = count - 1; i >= 0 && builder_trains(builder); i--)
        TRY(in_node(builder, &units[i], build_backward(builder, &units[i])));
    for (int i = 0; i < builder->buffer_count && builder->options.backward_twice; i++)
        if (builder->buffers[i].first >= 0 && builder->buffers[i].first < builder->forward_count)
            builder->buffers[i].last = builder->step_count; /* nothing takes its place */
    if (builder->options.input_diff)                        /* outlives the backward pass */
        TRY(add_step(builder, &(struct step){.kind = "hand over",
                                             .name = "",
                                             .buffer_count = 1,
                                             .buffers = {builder->values[0].diffs[0]}}));
    return RETORT_OK;
}
