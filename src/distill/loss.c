/* loss.c - the losses by their kind. */
#include "distill/loss.h"

#include <math.h>

const char *const loss_ramps[] = {"constant", "linear", "cosine", NULL};

double loss_weight_at(const struct loss_weight *weight, double progress)
{
    const double way = weight->ramp == LOSS_COSINE ? (1 - cos(acos(-1) * progress)) / 2 : progress;
    return weight->ramp == LOSS_CONSTANT ? weight->weight
                                         : weight->weight + (weight->final - weight->weight) * way;
}

#define LOSS_DECLARE(name) extern const struct loss loss_##name;
LOSS_KINDS(LOSS_DECLARE)
#undef LOSS_DECLARE

const struct loss *loss_of(enum loss_kind kind)
{
    static const struct loss *const losses[LOSS_COUNT] = {
#define LOSS_ROW(name) &loss_##name,
        LOSS_KINDS(LOSS_ROW)
#undef LOSS_ROW
    };
    return losses[kind];
}
