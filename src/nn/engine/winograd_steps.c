/* winograd_steps.c - the steps around winograd.h's passes.
 *
 * In training weights are transformed anew at every pass, which takes up to a tenth of the
 * convolution's time. When inferring they stay transformed, in four times the weights' memory. */
#include "nn/engine/winograd_steps.h"

bool winograd_takes(const struct builder *builder, const struct dnn_weighted *what,
                    struct winograd *winograd)
{
    const struct tensor *src = &what->src, *dst = &what->dst;
    *winograd = (struct winograd){.type = src->type,
                                  .n = src->n,
                                  .ic = src->c,
                                  .oc = dst->c,
                                  .h = src->h,
                                  .w = src->w,
                                  .block = src->block,
                                  .threads = builder->threads};
    return builder->options.convolutions != CONVOLUTIONS_DIRECT && !what->channels_last &&
           what->kernel == 3 && what->stride == 1 && what->pad == 1 && what->groups <= 1 &&
           src->block == dst->block && winograd_fits(winograd);
}

/* ---- how the steps run ---- */

struct constants {
    struct winograd what;
    bool relu;
};

static void run_weights(const struct step *step, void *const *ptr)
{
    const struct constants *constants = step->constants;
    winograd_weights(&constants->what, ptr[0], ptr[1]);
}

static void run_weights_turned(const struct step *step, void *const *ptr)
{
    const struct constants *constants = step->constants;
    winograd_weights_turned(&constants->what, ptr[0], ptr[1]);
}

static void run_forward(const struct step *step, void *const *ptr)
{
    const struct constants *constants = step->constants;
    winograd_forward(&constants->what, &(struct winograd_forward){.src = ptr[0],
                                                                  .u = ptr[1],
                                                                  .bias = ptr[2],
                                                                  .residual = ptr[3],
                                                                  .relu = constants->relu,
                                                                  .dst = ptr[4],
                                                                  .scratch = ptr[5]});
}

static void run_backward_weights(const struct step *step, void *const *ptr)
{
    const struct constants *constants = step->constants;
    winograd_backward_weights(&constants->what, &(struct winograd_backward){.src = ptr[0],
                                                                            .diff_dst = ptr[1],
                                                                            .diff_weights = ptr[2],
                                                                            .diff_bias = ptr[3],
                                                                            .scratch = ptr[4]});
}

/* ---- appending them ---- */

static enum retort_status floats(struct builder *builder, size_t count, int *buffer)
{
    return builder_buffer(builder, count * sizeof(float), buffer);
}

/* A pass with weights: they are transformed first. */
static enum retort_status pass(struct builder *builder, const char *name, const char *kind,
                               const struct constants *constants, step_function *transform,
                               const struct winograd_operands *operands, double flops)
{
    const size_t count = winograd_weights_count(&constants->what);
    int u, scratch;
    TRY(floats(builder, winograd_forward_scratch(&constants->what), &scratch));
    builder_prepare_begin(builder);
    TRY(floats(builder, count, &u));
    TRY(builder_step(builder, name,
                     &(struct step_request){.kind = "winograd weights",
                                            .run = transform,
                                            .constants = constants,
                                            .constant_bytes = sizeof(*constants),
                                            .buffers = {operands->weights, u},
                                            .buffer_count = 2,
                                            .bytes = (double)count * sizeof(float) * 5 / 4}));
    builder_prepare_end(builder);
    return builder_step(
        builder, name,
        &(struct step_request){.kind = kind,
                               .run = run_forward,
                               .constants = constants,
                               .constant_bytes = sizeof(*constants),
                               .buffers = {operands->src, u, operands->bias, operands->residual,
                                           operands->dst, scratch},
                               .buffer_count = 6,
                               .flops = flops});
}

enum retort_status winograd_forward_steps(struct builder *builder, const char *name,
                                          const struct winograd *what,
                                          const struct winograd_operands *operands, bool relu,
                                          double flops)
{
    const struct constants constants = {*what, relu};
    return pass(builder, name, "conv winograd", &constants, run_weights, operands, flops);
}

enum retort_status winograd_backward_data_steps(struct builder *builder, const char *name,
                                                const struct winograd *what, int diff_dst,
                                                int weights, int diff_src, double flops)
{
    struct constants constants = {*what, false};
    constants.what.residual_view = NULL;
    constants.what.ic = what->oc;
    constants.what.oc = what->ic;
    const struct winograd_operands operands = {diff_dst, weights, NO_BUFFER, NO_BUFFER, diff_src};
    return pass(builder, name, "conv backward data winograd", &constants, run_weights_turned,
                &operands, flops);
}

enum retort_status winograd_backward_weights_steps(struct builder *builder, const char *name,
                                                   const struct winograd *what, int src,
                                                   int diff_dst, int diff_weights, int diff_bias,
                                                   double flops)
{
    const struct constants constants = {*what, false};
    int scratch;
    TRY(floats(builder, winograd_backward_scratch(what), &scratch));
    return builder_step(
        builder, name,
        &(struct step_request){.kind = "conv backward weights winograd",
                               .run = run_backward_weights,
                               .constants = &constants,
                               .constant_bytes = sizeof(constants),
                               .buffers = {src, diff_dst, diff_weights, diff_bias, scratch},
                               .buffer_count = 5,
                               .flops = flops});
}
