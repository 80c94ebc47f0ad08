/* linear.c - a fully connected layer, over a map in (c, h, w) order or a vector. */
#include "nn/engine/weighted.h"
#include "nn/op/op.h"

static const struct setting rows[] = {
    {"out_features", SETTING_INT, offsetof(struct linear_attributes, out_features), 1, 65536, NULL,
     "numbers of the output"},
};
static const struct setting_table table = SETTING_TABLE("linear", struct linear_attributes, rows);

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    const struct linear_attributes *a = attributes;
    *output = (struct shape){a->out_features, 1, 1};
    return RETORT_OK;
}

static int parameters(const void *attributes, const struct shape *inputs,
                      struct parameter_spec *specs)
{
    const struct linear_attributes *a = attributes;
    int features = inputs[0].c * inputs[0].h * inputs[0].w;
    specs[0] = (struct parameter_spec){
        "weight", PARAMETER_WEIGHT, 2, {a->out_features, features}, features};
    specs[1] = (struct parameter_spec){"bias", PARAMETER_BIAS, 1, {a->out_features}, 0};
    return 2;
}

static int64_t macs(const void *attributes, const struct shape *inputs, struct shape output)
{
    return (int64_t)output.c * inputs[0].c * inputs[0].h * inputs[0].w;
}

/* ---- how it runs ---- */

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    return weighted_forward(builder, unit, "linear", &(struct dnn_weighted){.kernel = 0});
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    return weighted_backward(builder, unit, "linear");
}

const struct op op_linear = {
    .name = "linear",
    .onnx = "Gemm",
    .inputs = 1,
    .vectors = true,
    .attributes = &table,
    .infer = infer,
    .parameters = parameters,
    .macs = macs,
    .forward = forward,
    .backward = backward,
};
