/* weighted.h - what convolution and linear layers share: steps around oneDNN's three passes. */
#ifndef ENGINE_WEIGHTED_H
#define ENGINE_WEIGHTED_H

#include "nn/engine/builder.h"

/* shape: kernel, stride, pad, groups (kernel 0: linear); the rest is filled in here. The node's
 * parameters are its weight and, if it has two, its bias. */
enum retort_status weighted_forward(struct builder *builder, const struct unit *unit,
                                    const char *kind, const struct dnn_weighted *shape);
enum retort_status weighted_backward(struct builder *builder, const struct unit *unit,
                                     const char *kind);

#endif
