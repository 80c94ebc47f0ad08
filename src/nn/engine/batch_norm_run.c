/* batch_norm_run.c - the loops over one run, compiled for each instruction-set level. */
#include "nn/engine/batch_norm_run.h"

#include "base/cpu.h"

KERNEL_INLINE vector coefficient(const float *coefficients, int which)
{
    return vector_load(PRECISION_F32, coefficients, (size_t)which * LANES, LANES);
}

KERNEL_INLINE void run_sums(enum precision type, int block, const void *x, size_t count,
                            float *sums, float *first)
{
    vector head = vector_load(type, x, 0, block);
    for (int i = 0; i < block; i++)
        first[i] = head[i];
    vector x0 = vector_channels(first, block);
    vector s0 = {0}, s1 = {0}, q0 = {0}, q1 = {0};
    size_t at = 0;
    for (; at + 2 * LANES <= count; at += 2 * LANES) {
        vector d0 = vector_load(type, x, at, LANES) - x0;
        vector d1 = vector_load(type, x, at + LANES, LANES) - x0;
        s0 += d0;
        s1 += d1;
        q0 += d0 * d0;
        q1 += d1 * d1;
    }
    for (; at + LANES <= count; at += LANES) {
        vector d = vector_load(type, x, at, LANES) - x0;
        s0 += d;
        q0 += d * d;
    }
    if (at < count) {
        vector d = vector_load(type, x, at, (int)(count - at)) - x0;
        for (int i = (int)(count - at); i < LANES; i++)
            d[i] = 0;
        s0 += d;
        q0 += d * d;
    }
    s0 += s1;
    q0 += q1;
    memcpy(sums, &s0, sizeof(s0));
    memcpy(sums + LANES, &q0, sizeof(q0));
}

/* The loops below run over whole vectors and treat the half vector that may be left apart, so that
 * the number of lanes is a constant where it matters. */
#define EACH_VECTOR(count, body)                                                                   \
    do {                                                                                           \
        size_t at = 0;                                                                             \
        for (; at + LANES <= (count); at += LANES) {                                               \
            enum { lanes = LANES };                                                                \
            body;                                                                                  \
        }                                                                                          \
        if (at < (count)) {                                                                        \
            const int lanes = (int)((count)-at);                                                   \
            body;                                                                                  \
        }                                                                                          \
    } while (0)

KERNEL_INLINE void run_apply(enum precision type, bool relu, const void *x, const void *residual,
                             void *y, size_t count, const float *coefficients)
{
    const vector a = coefficient(coefficients, A), b = coefficient(coefficients, B);
    EACH_VECTOR(count, {
        vector v = vector_load(type, x, at, lanes) * a + b;
        if (residual)
            v += vector_load(type, residual, at, lanes);
        vector_store(type, y, at, lanes, relu ? vector_relu(v) : v);
    });
}

/* The gradient before normalisation at one place: all diffs, cut where the ReLU cut. */
KERNEL_INLINE vector masked(enum precision type, bool relu, const void *const *diffs,
                            int diff_count, const void *y, vector x, vector a, vector b, size_t at,
                            int lanes)
{
    vector g = vector_load(type, diffs[0], at, lanes);
    if (diff_count > 1)
        g += vector_load(type, diffs[1], at, lanes);
    for (int i = 2; i < diff_count; i++)
        g += vector_load(type, diffs[i], at, lanes);
    if (!relu)
        return g;
    return vector_where_positive(y ? vector_load(type, y, at, lanes) : x * a + b, g);
}

/* Sums of g and of g (x - mean); stores g when wanted. */
KERNEL_INLINE void run_backward_sums(enum precision type, bool relu, const void *const *diffs,
                                     int diff_count, const void *y, const void *x, void *g_out,
                                     size_t count, const float *coefficients, float *sums)
{
    const vector a = coefficient(coefficients, A), b = coefficient(coefficients, B);
    const vector mean = coefficient(coefficients, MEAN);
    vector s = {0}, p = {0};
    EACH_VECTOR(count, {
        vector v = vector_load(type, x, at, lanes);
        vector g = masked(type, relu, diffs, diff_count, y, v, a, b, at, lanes);
        if (g_out)
            vector_store(type, g_out, at, lanes, g);
        s += g;
        p += g * (v - mean);
    });
    memcpy(sums, &s, sizeof(s));
    memcpy(sums + LANES, &p, sizeof(p));
}

KERNEL_INLINE void run_backward_apply(enum precision type, bool relu, const void *const *diffs,
                                      const void *y, const void *x, void *dx, size_t count,
                                      const float *coefficients)
{
    const vector a = coefficient(coefficients, A), b = coefficient(coefficients, B);
    const vector p = coefficient(coefficients, P), q = coefficient(coefficients, Q);
    const vector r = coefficient(coefficients, R);
    EACH_VECTOR(count, {
        vector v = vector_load(type, x, at, lanes);
        vector g = masked(type, relu, diffs, 1, y, v, a, b, at, lanes);
        vector_store(type, dx, at, lanes, g * p + v * q + r);
    });
}

/* ---- the levels ---- */

KERNEL_INLINE void sums_any(const struct run *r, bool native)
{
    if (native)
        run_sums(BF16_NATIVE, r->block, r->x, r->count, r->sums, r->first);
    else if (r->type == PRECISION_BF16)
        run_sums(PRECISION_BF16, r->block, r->x, r->count, r->sums, r->first);
    else
        run_sums(PRECISION_F32, r->block, r->x, r->count, r->sums, r->first);
}

#define BY_RELU(r, call)                                                                           \
    do {                                                                                           \
        if ((r)->relu) {                                                                           \
            bool relu = true;                                                                      \
            call;                                                                                  \
        } else {                                                                                   \
            bool relu = false;                                                                     \
            call;                                                                                  \
        }                                                                                          \
    } while (0)

#define BY_TYPE(r, call)                                                                           \
    do {                                                                                           \
        if (native) {                                                                              \
            const enum precision type = BF16_NATIVE;                                               \
            BY_RELU(r, call);                                                                      \
        } else if ((r)->type == PRECISION_BF16) {                                                  \
            const enum precision type = PRECISION_BF16;                                            \
            BY_RELU(r, call);                                                                      \
        } else {                                                                                   \
            const enum precision type = PRECISION_F32;                                             \
            BY_RELU(r, call);                                                                      \
        }                                                                                          \
    } while (0)

KERNEL_INLINE void apply_any(const struct run *r, bool native)
{
    if (r->residual)
        BY_TYPE(r, run_apply(type, relu, r->x, r->residual, r->out, r->count, r->c));
    else
        BY_TYPE(r, run_apply(type, relu, r->x, NULL, r->out, r->count, r->c));
}

/* The common cases are compiled apart: one gradient through a batch norm + ReLU; two that meet at a
 * residual sum. */
KERNEL_INLINE void backward_sums_any(const struct run *r, bool native)
{
    if (r->diff_count == 1 && !r->g && !r->y)
        BY_TYPE(r, run_backward_sums(type, relu, r->diffs, 1, NULL, r->x, NULL, r->count, r->c,
                                     r->sums));
    else if (r->diff_count == 2 && r->g && r->y)
        BY_TYPE(r, run_backward_sums(type, relu, r->diffs, 2, r->y, r->x, r->g, r->count, r->c,
                                     r->sums));
    else
        BY_TYPE(r, run_backward_sums(type, relu, r->diffs, r->diff_count, r->y, r->x, r->g,
                                     r->count, r->c, r->sums));
}

KERNEL_INLINE void backward_apply_any(const struct run *r, bool native)
{
    if (r->y)
        BY_TYPE(r, run_backward_apply(type, relu, r->diffs, r->y, r->x, r->out, r->count, r->c));
    else
        BY_TYPE(r, run_backward_apply(type, relu, r->diffs, NULL, r->x, r->out, r->count, r->c));
}

/* Whether to convert natively is asked before everything is inlined twice. What is handed on is the
 * level's constant, not `true`: levels that cannot have the instructions do not compile them. */
#define BY_CONVERSION(level, function, r)                                                          \
    do {                                                                                           \
        if (CPU_BF16_##level && (r)->type == PRECISION_BF16 && cpu_bf16())                         \
            function(r, CPU_BF16_##level);                                                         \
        else                                                                                       \
            function(r, false);                                                                    \
    } while (0)

#define DEFINE_LEVEL(level, features)                                                              \
    CPU_TARGET(features) static void sums_##level(const struct run *r)                             \
    {                                                                                              \
        BY_CONVERSION(level, sums_any, r);                                                         \
    }                                                                                              \
    CPU_TARGET(features) static void apply_##level(const struct run *r)                            \
    {                                                                                              \
        BY_CONVERSION(level, apply_any, r);                                                        \
    }                                                                                              \
    CPU_TARGET(features) static void backward_sums_##level(const struct run *r)                    \
    {                                                                                              \
        BY_CONVERSION(level, backward_sums_any, r);                                                \
    }                                                                                              \
    CPU_TARGET(features) static void backward_apply_##level(const struct run *r)                   \
    {                                                                                              \
        BY_CONVERSION(level, backward_apply_any, r);                                               \
    }
CPU_LEVELS(DEFINE_LEVEL)

const struct run_kernels *batch_norm_run_kernels(void)
{
    static const struct run_kernels levels[] = {
#define LEVEL_ROW(level, features)                                                                 \
    {sums_##level, apply_##level, backward_sums_##level, backward_apply_##level},
        CPU_LEVELS(LEVEL_ROW)};
    return &levels[cpu_level()];
}
