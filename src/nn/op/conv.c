/* conv.c - two-dimensional convolution with square kernels, also depthwise. */
#include "nn/engine/depthwise_steps.h"
#include "nn/engine/weighted.h"
#include "nn/op/op.h"

static const struct setting rows[] = {
    {"out_channels", SETTING_INT, offsetof(struct conv_attributes, out_channels), 1, 65536, NULL,
     "channels of the output"},
    {"kernel", SETTING_INT, offsetof(struct conv_attributes, kernel), 1, 64, NULL,
     "side of the square kernel"},
    {"stride", SETTING_INT, offsetof(struct conv_attributes, stride), 1, 64, "1",
     "step between positions"},
    {"pad", SETTING_INT, offsetof(struct conv_attributes, pad), 0, 63, "0",
     "zeros around the input"},
    {"groups", SETTING_INT, offsetof(struct conv_attributes, groups), 1, 65536, "1",
     "channels are split into this many groups; as many as channels: depthwise"},
    {"bias", SETTING_FLAG, offsetof(struct conv_attributes, bias), 0, 0, "false",
     "add a number per channel"},
};
static const struct setting_table table = SETTING_TABLE("conv", struct conv_attributes, rows);

static enum retort_status infer(const void *attributes, const struct shape *inputs,
                                struct shape *output)
{
    const struct conv_attributes *a = attributes;
    const struct shape in = inputs[0];
    if (in.c % a->groups || a->out_channels % a->groups)
        return fail(RETORT_INVALID,
                    "%d input and %d output channels cannot be split into %d groups", in.c,
                    a->out_channels, a->groups);
    if (in.h + 2 * a->pad < a->kernel || in.w + 2 * a->pad < a->kernel)
        return fail(RETORT_INVALID,
                    "a map of %dx%d is too small for a kernel of %d with %d zeros around", in.h,
                    in.w, a->kernel, a->pad);
    *output = (struct shape){a->out_channels, (in.h + 2 * a->pad - a->kernel) / a->stride + 1,
                             (in.w + 2 * a->pad - a->kernel) / a->stride + 1};
    return RETORT_OK;
}

static int parameters(const void *attributes, const struct shape *inputs,
                      struct parameter_spec *specs)
{
    const struct conv_attributes *a = attributes;
    int depth = inputs[0].c / a->groups;
    specs[0] = (struct parameter_spec){"weight",
                                       PARAMETER_WEIGHT,
                                       4,
                                       {a->out_channels, depth, a->kernel, a->kernel},
                                       depth * a->kernel * a->kernel};
    if (a->bias)
        specs[1] = (struct parameter_spec){"bias", PARAMETER_BIAS, 1, {a->out_channels}, 0};
    return a->bias ? 2 : 1;
}

static int64_t macs(const void *attributes, const struct shape *inputs, struct shape output)
{
    const struct conv_attributes *a = attributes;
    return (int64_t)output.c * output.h * output.w * (inputs[0].c / a->groups) * a->kernel *
           a->kernel;
}

/* ---- how it runs ---- */

static enum retort_status forward(struct builder *builder, const struct unit *unit)
{
    const struct conv_attributes *a = builder->graph->nodes[unit->node].attributes;
    if (depthwise_takes(builder, unit))
        return depthwise_forward_steps(builder, unit);
    return weighted_forward(
        builder, unit, "conv",
        &(struct dnn_weighted){
            .kernel = a->kernel, .stride = a->stride, .pad = a->pad, .groups = a->groups});
}

static enum retort_status backward(struct builder *builder, const struct unit *unit)
{
    if (depthwise_takes(builder, unit))
        return depthwise_backward_steps(builder, unit);
    return weighted_backward(builder, unit, "conv");
}

const struct op op_conv = {
    .name = "conv",
    .onnx = "Conv",
    .inputs = 1,
    .attributes = &table,
    .infer = infer,
    .parameters = parameters,
    .macs = macs,
    .forward = forward,
    .backward = backward,
};
