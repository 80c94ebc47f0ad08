/* golden.h - cases computed by an outside implementation, as the README beside them explains.
 *
 *     struct golden golden;
 *     golden_open(&golden, "op_max_pool_2");           skips the test when the case is absent
 *     const float *x = golden_floats(&golden, "x", GOLDEN_DIMS(2, 5, 8, 6));
 *     ...
 *     golden_check(&golden, "y", result, "y", 4);
 *     golden_close(&golden);
 *
 * Everything else that is missing or shaped otherwise fails the test and names it. */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include "support.h"

#include <stdbool.h>

#include "base/safetensors.h"

struct golden {
    const char *name;
    struct safetensors file;
};

/* Open <name>.safetensors. name is borrowed until golden_close. */
void golden_open(struct golden *golden, const char *name);
/* The same for a case of our own, in tests/vectors; it is always there. */
void golden_open_own(struct golden *golden, const char *name);
void golden_close(struct golden *golden);

/* Rank and dimensions for the functions below, as one argument. */
struct golden_dims {
    int rank, dims[SAFETENSORS_RANK];
};
#define GOLDEN_DIMS(...)                                                                           \
    ((struct golden_dims){sizeof((int[]){__VA_ARGS__}) / sizeof(int), {__VA_ARGS__}})

bool golden_has(const struct golden *golden, const char *tensor);
/* The dimensions of a tensor, for cases whose sizes the test takes from the file. */
struct golden_dims golden_dims(const struct golden *golden, const char *tensor);
size_t golden_count(const struct golden_dims *dims);

/* A tensor's numbers, plain row-major, borrowed until golden_close. Fails unless its type is F32
 * (I32 for golden_ints) and its dimensions are those wanted. */
const float *golden_floats(const struct golden *golden, const char *tensor,
                           struct golden_dims wanted);
const int32_t *golden_ints(const struct golden *golden, const char *tensor,
                           struct golden_dims wanted);

/* A field of the metadata. */
const char *golden_text(const struct golden *golden, const char *key);
double golden_number(const struct golden *golden, const char *key);

/* Instead of a multiple: values computed on bf16 maps. The root mean square of their differences
 * may be this share of that of the tensor, or of the largest number of its group if the tensor
 * holds less than a hundredth of it. (One by one they may differ more: a number may round to the
 * other side of a ReLU or of a tie.) */
static inline double golden_share(double share)
{
    return -share;
}

/* How far a float32 implementation may be from the numbers of a group of outputs: `multiple` times
 * what the outside one lost to rounding, and no less than four roundings of the largest number. */
double golden_tolerance(const struct golden *golden, const char *group, double multiple);

/* Fail unless values, as many as the tensor holds, are within that tolerance of it. */
void golden_check(const struct golden *golden, const char *tensor, const float *values,
                  const char *group, double multiple);
/* The same for a number of the metadata, e.g. "loss.step1". */
void golden_check_number(const struct golden *golden, const char *key, double value,
                         const char *group, double multiple);

#endif
