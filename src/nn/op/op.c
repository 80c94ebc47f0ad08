/* op.c - the list of operators. */
#include "nn/op/op.h"

#include <string.h>

#define DECLARE(name) extern const struct op op_##name;
OP_KINDS(DECLARE)

static const struct op *const ops[] = {
#define ROW(name) &op_##name,
    OP_KINDS(ROW)};

const struct op *op_of(enum op_kind kind)
{
    return ops[kind];
}

const struct op *op_find(const char *name, enum op_kind *kind)
{
    for (int i = 0; i < OP_COUNT; i++)
        if (strcmp(ops[i]->name, name) == 0) {
            *kind = (enum op_kind)i;
            return ops[i];
        }
    return NULL;
}
