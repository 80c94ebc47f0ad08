/* loss.c - the list of losses. */
#include "distill/loss.h"

#define DECLARE(name) extern const struct loss loss_##name;
LOSS_KINDS(DECLARE)

const struct loss *loss_of(enum loss_kind kind)
{
    static const struct loss *const losses[] = {
#define ROW(name) &loss_##name,
        LOSS_KINDS(ROW)
    };
    return losses[kind];
}
