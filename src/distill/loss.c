/* loss.c - the losses by their kind. */
#include "distill/loss.h"

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
