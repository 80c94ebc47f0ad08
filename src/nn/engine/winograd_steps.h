/* winograd_steps.h - Winograd's convolution as steps of an executor, where it beats oneDNN's. */
#ifndef ENGINE_WINOGRAD_STEPS_H
#define ENGINE_WINOGRAD_STEPS_H

#include "nn/engine/builder.h"
#include "nn/engine/winograd.h"

/* Is this a convolution for Winograd? Then *winograd is what it does. */
bool winograd_takes(const struct builder *builder, const struct dnn_weighted *what,
                    struct winograd *winograd);

/* Buffers; bias and residual may be NO_BUFFER. */
struct winograd_operands {
    int src, weights, bias, residual, dst;
};
enum retort_status winograd_forward_steps(struct builder *builder, const char *name,
                                          const struct winograd *what,
                                          const struct winograd_operands *operands, bool relu,
                                          double flops);

/* what: the convolution's own, as above. */
enum retort_status winograd_backward_data_steps(struct builder *builder, const char *name,
                                                const struct winograd *what, int diff_dst,
                                                int weights, int diff_src, double flops);
/* diff_bias may be NO_BUFFER. */
enum retort_status winograd_backward_weights_steps(struct builder *builder, const char *name,
                                                   const struct winograd *what, int src,
                                                   int diff_dst, int diff_weights, int diff_bias,
                                                   double flops);

#endif
