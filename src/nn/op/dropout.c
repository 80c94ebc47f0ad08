/* dropout.c - numbers set to zero at random while training (Srivastava et al. 2014). */
#include "nn/engine/elementwise.h"
#include "nn/op/op.h"

static const struct setting rows[] = {
    {"rate", SETTING_NUMBER, offsetof(struct dropout_attributes, rate), 0, 0.99, "0.5",
     "share that is set to zero"},
};
static const struct setting_table table = SETTING_TABLE("dropout", struct dropout_attributes, rows);

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    *output = inputs[0];
    return RETORT_OK;
}

/* ---- how it runs; at inference it does nothing ---- */

static void run(const struct step *step, void *const *ptr)
{
    dropout_run(step->constants, ptr[0], ptr[1]);
}

static enum retort_status append(struct builder *builder, const struct unit *unit, int from, int to)
{
    const struct node *node = &builder->graph->nodes[unit->node];
    const struct dropout_attributes *a = node->attributes;
    struct dropout what = {builder_value(builder, unit->output)->tensor, a->rate,
                           builder->options.seed, (uint32_t)unit->node, builder->step};
    return builder_step(builder, node->name,
                        &(struct step_request){"dropout",
                                               run,
                                               &what,
                                               sizeof(what),
                                               {from, to},
                                               2,
                                               0,
                                               2 * (double)tensor_bytes(&what.map)});
}

/* At inference the value is its input's. */
static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct value *src = builder_input(builder, unit, 0);
    const bool train = builder_trains(builder);
    struct value *dst;
    TRY(builder_output(builder, unit, src->tensor.block == 1, train ? NO_BUFFER : src->buffer,
                       &dst));
    return train ? append(builder, unit, src->buffer, dst->buffer) : RETORT_OK;
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    int diff;
    TRY(builder_diff(builder, unit, NO_BUFFER, &diff));
    TRY(append(builder, unit, diff, diff));
    return builder_add_diff(builder_input(builder, unit, 0), diff, false);
}

const struct op op_dropout = {
    .name = "dropout",
    .onnx = "Dropout",
    .inputs = 1,
    .vectors = true,
    .attributes = &table,
    .infer = infer,
    .forward = forward,
    .backward = backward,
};
