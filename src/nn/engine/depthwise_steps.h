/* depthwise_steps.h - a depthwise convolution in training, and what it takes over from the batch
 * norms around it (struct value in builder.h says how they tell each other). */
#ifndef ENGINE_DEPTHWISE_STEPS_H
#define ENGINE_DEPTHWISE_STEPS_H

#include "nn/engine/builder.h"

/* Is this unit's convolution done by depthwise.h, here and backward? */
bool depthwise_takes(const struct builder *builder, const struct unit *unit);

/* The unit that alone reads this node if it is such a convolution, so that the batch norm that
 * makes the node may leave it as it is; else NULL. */
const struct unit *depthwise_reader(const struct builder *builder, int node);

enum retort_status depthwise_forward_steps(struct builder *builder, const struct unit *unit);
enum retort_status depthwise_backward_steps(struct builder *builder, const struct unit *unit);

#endif
