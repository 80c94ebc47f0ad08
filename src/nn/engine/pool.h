/* pool.h - what the pooling operators share: steps around oneDNN's passes. */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include "nn/engine/builder.h"

/* windows: kernel, stride, average; the rest is filled in here. */
enum retort_status pool_forward(struct builder *builder, const struct unit *unit, const char *kind,
                                const struct dnn_pool *windows);
enum retort_status pool_backward(struct builder *builder, const struct unit *unit,
                                 const char *kind);

#endif
