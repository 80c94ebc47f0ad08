/* batch_norm_kernel.c - see the header for what is computed.
 *
 * The unit of work is a run: one image's map of one block of channels, h * w * block numbers in a
 * row. Each pass goes over all runs in parallel; between two passes the sums of the runs are put
 * together. Blocks of channels are taken in groups of about GROUP_BYTES, so that the second pass
 * finds in the cache what the first one read. */
#include "nn/engine/batch_norm_kernel.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>

#include "base/cpu.h"
#include "nn/vector.h"

enum { GROUP_BYTES = 8 << 20, SUMS = 2 * LANES };

/* What the passes read of a block of channels, each for every lane: y = x * a + b;
 * dx = g * p + x * q + r. */
enum { A, B, MEAN, P, Q, R, COEFFICIENTS };

KERNEL_INLINE vector coefficient(const float *coefficients, int which)
{
    return vector_load(PRECISION_F32, coefficients, (size_t)which * LANES, LANES);
}

/* ---- one run, one instruction-set level ---- */

/* Sums of x - x0 and its square, x0 being the run's first position: no cancellation when the mean
 * is large. sums: LANES of x - x0, LANES of squares. */
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

/* One run's operands, offset to the run. */
struct run {
    enum precision type;
    bool relu;
    int block, diff_count;
    size_t count;
    const void *x, *y, *residual, *diffs[BATCH_NORM_DIFFS];
    void *out, *g;
    const float *c; /* coefficients of its block */
    float *sums, *first;
};

KERNEL_INLINE void sums_any(const struct run *r)
{
    if (r->type == PRECISION_BF16)
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
        if ((r)->type == PRECISION_BF16) {                                                         \
            const enum precision type = PRECISION_BF16;                                            \
            BY_RELU(r, call);                                                                      \
        } else {                                                                                   \
            const enum precision type = PRECISION_F32;                                             \
            BY_RELU(r, call);                                                                      \
        }                                                                                          \
    } while (0)

KERNEL_INLINE void apply_any(const struct run *r)
{
    if (r->residual)
        BY_TYPE(r, run_apply(type, relu, r->x, r->residual, r->out, r->count, r->c));
    else
        BY_TYPE(r, run_apply(type, relu, r->x, NULL, r->out, r->count, r->c));
}

/* The common cases are compiled apart: one gradient through a batch norm + ReLU; two that meet at a
 * residual sum. */
KERNEL_INLINE void backward_sums_any(const struct run *r)
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

KERNEL_INLINE void backward_apply_any(const struct run *r)
{
    if (r->y)
        BY_TYPE(r, run_backward_apply(type, relu, r->diffs, r->y, r->x, r->out, r->count, r->c));
    else
        BY_TYPE(r, run_backward_apply(type, relu, r->diffs, NULL, r->x, r->out, r->count, r->c));
}

struct run_kernels {
    void (*sums)(const struct run *), (*apply)(const struct run *);
    void (*backward_sums)(const struct run *), (*backward_apply)(const struct run *);
};

#define DEFINE_LEVEL(level, features)                                                              \
    CPU_TARGET(features) static void sums_##level(const struct run *r)                             \
    {                                                                                              \
        sums_any(r);                                                                               \
    }                                                                                              \
    CPU_TARGET(features) static void apply_##level(const struct run *r)                            \
    {                                                                                              \
        apply_any(r);                                                                              \
    }                                                                                              \
    CPU_TARGET(features) static void backward_sums_##level(const struct run *r)                    \
    {                                                                                              \
        backward_sums_any(r);                                                                      \
    }                                                                                              \
    CPU_TARGET(features) static void backward_apply_##level(const struct run *r)                   \
    {                                                                                              \
        backward_apply_any(r);                                                                     \
    }
CPU_LEVELS(DEFINE_LEVEL)

static const struct run_kernels levels[] = {
#define LEVEL_ROW(level, features)                                                                 \
    {sums_##level, apply_##level, backward_sums_##level, backward_apply_##level},
    CPU_LEVELS(LEVEL_ROW)};

/* ---- whole maps ---- */

struct plane {
    int blocks, runs;    /* of channels; images */
    size_t count, bytes; /* of a run */
};

static struct plane plane_of(const struct tensor *map)
{
    struct plane plane = {tensor_channels(map) / map->block, map->n,
                          (size_t)map->h * map->w * map->block, 0};
    plane.bytes = plane.count * (map->type == PRECISION_BF16 ? 2 : 4);
    return plane;
}

/* Where the run of an image and a block of channels begins, in bytes. */
static size_t run_at(const struct plane *plane, int image, int block)
{
    return ((size_t)image * plane->blocks + block) * plane->bytes;
}

static const void *shifted(const void *map, size_t bytes)
{
    return map ? (const char *)map + bytes : NULL;
}

static struct run run_of(const struct batch_norm_shape *shape, const struct plane *plane)
{
    return (struct run){.type = shape->map.type,
                        .relu = shape->relu,
                        .block = shape->map.block,
                        .count = plane->count};
}

/* Blocks of channels whose runs fit into the cache together. */
static int group_of(const struct plane *plane)
{
    size_t fit = GROUP_BYTES / (plane->bytes * (size_t)plane->runs);
    return fit < 1 ? 1 : fit > (size_t)plane->blocks ? plane->blocks : (int)fit;
}

/* Scratch: the coefficients of every block of channels, then of every run SUMS floats of sums and
 * LANES of its first position. */
enum { RUN_SCRATCH = SUMS + LANES, BLOCK_SCRATCH = COEFFICIENTS * LANES };

size_t batch_norm_scratch(const struct batch_norm_shape *shape)
{
    struct plane plane = plane_of(&shape->map);
    return (size_t)plane.blocks * (BLOCK_SCRATCH + (size_t)plane.runs * RUN_SCRATCH);
}

static float *block_scratch(float *scratch, int b)
{
    return scratch + (size_t)b * BLOCK_SCRATCH;
}

static float *run_scratch(const struct plane *plane, float *scratch, int image, int b)
{
    return block_scratch(scratch, plane->blocks) +
           ((size_t)b * plane->runs + (size_t)image) * RUN_SCRATCH;
}

/* A number for each channel of a block, into all lanes that hold the channel. */
static void set_coefficient(float *coefficients, int which, int block, const double *numbers)
{
    for (int i = 0; i < LANES; i++)
        coefficients[which * LANES + i] = (float)numbers[i % block];
}

/* One of a run's sums, by channel: over the lanes that hold it. */
KERNEL_INLINE void fold(const float *sums, int block, double *channels)
{
    for (int i = 0; i < block; i++)
        channels[i] = block == LANES ? (double)sums[i] : (double)sums[i] + (double)sums[i + block];
}

/* Means and variances of a block's channels. All runs are equally long, so the mean is that of the
 * runs' means, and the squared deviations are those within the runs and between them. */
KERNEL_INLINE void statistics(const struct plane *plane, int block, const float *scratch,
                              double *mean, double *var)
{
    const double part = (double)plane->count / block;
    double sum[LANES], squares[LANES];
    for (int c = 0; c < block; c++)
        mean[c] = var[c] = 0;
    for (int run = 0; run < plane->runs; run++) {
        const float *s = scratch + (size_t)run * RUN_SCRATCH;
        fold(s, block, sum);
        for (int c = 0; c < block; c++)
            mean[c] += (sum[c] / part + (double)s[SUMS + c]) / plane->runs;
    }
    for (int run = 0; run < plane->runs; run++) {
        const float *s = scratch + (size_t)run * RUN_SCRATCH;
        fold(s, block, sum);
        fold(s + LANES, block, squares);
        for (int c = 0; c < block; c++) {
            double distance = sum[c] / part + (double)s[SUMS + c] - mean[c];
            var[c] += (squares[c] - sum[c] * sum[c] / part) / part + distance * distance;
        }
    }
    for (int c = 0; c < block; c++)
        var[c] = var[c] > 0 ? var[c] / plane->runs : 0;
}

/* y = x * a + b, and the mean, of a block of channels. */
static void set_affine(float *coefficients, const float *scale, const float *shift,
                       const float *mean, const float *inverse, int block)
{
    double a[LANES], b[LANES], m[LANES];
    for (int i = 0; i < block; i++) {
        a[i] = (double)(scale[i] * inverse[i]);
        b[i] = shift[i] - mean[i] * a[i];
        m[i] = mean[i];
    }
    set_coefficient(coefficients, A, block, a);
    set_coefficient(coefficients, B, block, b);
    set_coefficient(coefficients, MEAN, block, m);
}

static void finish_statistics(const struct batch_norm_shape *shape, const struct plane *plane,
                              const struct batch_norm_forward *data, int b)
{
    const int block = shape->map.block, from = b * block;
    const double count = (double)plane->count / block * plane->runs;
    const float *scratch = run_scratch(plane, data->scratch, 0, b);
    double mean[LANES], var[LANES];
    if (block == LANES)
        statistics(plane, LANES, scratch, mean, var);
    else
        statistics(plane, LANES / 2, scratch, mean, var);
    for (int i = 0; i < block; i++) {
        const int c = from + i;
        const double m = (double)shape->momentum;
        const double unbiased = count > 1 ? var[i] * count / (count - 1) : var[i];
        data->mean[c] = (float)mean[i];
        data->inverse[c] = (float)(1 / sqrt(var[i] + (double)shape->epsilon));
        data->running_mean[c] = (float)((1 - m) * (double)data->running_mean[c] + m * mean[i]);
        data->running_var[c] = (float)((1 - m) * (double)data->running_var[c] + m * unbiased);
    }
    set_affine(block_scratch(data->scratch, b), data->scale + from, data->shift + from,
               data->mean + from, data->inverse + from, block);
}

/* This thread's share of the runs of blocks from .. to-1, counted on: the same in every pass, so
 * that a pass finds in the core's own cache what the one before it left there. The second pass
 * walks backwards: it begins with what was touched last. */
struct share {
    int begin, end;
};

static struct share share_of(const struct plane *plane, int from, int to)
{
    const long runs = (long)(to - from) * plane->runs;
    const int threads = omp_get_num_threads(), thread = omp_get_thread_num();
    return (struct share){from * plane->runs + (int)(runs * thread / threads),
                          from * plane->runs + (int)(runs * (thread + 1) / threads)};
}

static void forward_group(const struct batch_norm_shape *shape, const struct plane *plane,
                          const struct batch_norm_forward *data, int from, int to)
{
    const struct run_kernels *kernels = &levels[cpu_level()];
#pragma omp parallel
    {
        const struct share share = share_of(plane, from, to);
        for (int k = share.begin; k < share.end; k++) {
            const int b = k / plane->runs, i = k % plane->runs;
            struct run run = run_of(shape, plane);
            run.x = shifted(data->x, run_at(plane, i, b));
            run.sums = run_scratch(plane, data->scratch, i, b);
            run.first = run.sums + SUMS;
            kernels->sums(&run);
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int b = from; b < to; b++)
            finish_statistics(shape, plane, data, b);
        for (int k = share.end - 1; k >= share.begin; k--) {
            const int b = k / plane->runs, i = k % plane->runs;
            const size_t at = run_at(plane, i, b);
            struct run run = run_of(shape, plane);
            run.x = shifted(data->x, at);
            run.residual = shifted(data->residual, at);
            run.out = (void *)shifted(data->y, at);
            run.c = block_scratch(data->scratch, b);
            kernels->apply(&run);
        }
    }
}

void batch_norm_forward(const struct batch_norm_shape *shape, const struct batch_norm_forward *data)
{
    const struct plane plane = plane_of(&shape->map);
    const int group = group_of(&plane);
    for (int from = 0; from < plane.blocks; from += group)
        forward_group(shape, &plane, data, from,
                      from + group < plane.blocks ? from + group : plane.blocks);
}

void batch_norm_apply(const struct batch_norm_shape *shape, const void *x, const void *residual,
                      void *y, const float *a, const float *b)
{
    const struct run_kernels *kernels = &levels[cpu_level()];
    const struct plane plane = plane_of(&shape->map);
    const int block = shape->map.block;
#pragma omp parallel for collapse(2) schedule(static)
    for (int i = 0; i < plane.runs; i++)
        for (int k = 0; k < plane.blocks; k++) {
            float coefficients[BLOCK_SCRATCH];
            struct run run = run_of(shape, &plane);
            size_t at = run_at(&plane, i, k);
            for (int lane = 0; lane < LANES; lane++) {
                coefficients[A * LANES + lane] = a[k * block + lane % block];
                coefficients[B * LANES + lane] = b[k * block + lane % block];
            }
            run.x = shifted(x, at);
            run.residual = shifted(residual, at);
            run.out = (void *)shifted(y, at);
            run.c = coefficients;
            kernels->apply(&run);
        }
}

/* ---- backward ---- */

KERNEL_INLINE void backward_totals(const struct plane *plane, int block, const float *scratch,
                                   double *sum, double *products)
{
    double run_sum[LANES], run_products[LANES];
    for (int c = 0; c < block; c++)
        sum[c] = products[c] = 0;
    for (int run = 0; run < plane->runs; run++, scratch += RUN_SCRATCH) {
        fold(scratch, block, run_sum);
        fold(scratch + LANES, block, run_products);
        for (int c = 0; c < block; c++) {
            sum[c] += run_sum[c];
            products[c] += run_products[c];
        }
    }
}

/* dx = p g + q x + r, the header's formula solved for g and x. */
static void finish_backward_sums(const struct batch_norm_shape *shape, const struct plane *plane,
                                 const struct batch_norm_backward *data, int b)
{
    const int block = shape->map.block;
    const double count = (double)plane->count / block * plane->runs;
    const float *scratch = run_scratch(plane, data->scratch, 0, b);
    double sum[LANES], products[LANES], p[LANES], q[LANES], r[LANES];
    if (block == LANES)
        backward_totals(plane, LANES, scratch, sum, products);
    else
        backward_totals(plane, LANES / 2, scratch, sum, products);
    for (int i = 0; i < block; i++) {
        const int c = b * block + i;
        const double inverse = data->inverse[c];
        data->diff_shift[c] = (float)sum[i];
        data->diff_scale[c] = (float)(products[i] * inverse);
        p[i] = (double)data->scale[c] * inverse;
        q[i] = -p[i] * inverse * inverse * products[i] / count;
        r[i] = -p[i] * sum[i] / count - q[i] * (double)data->mean[c];
    }
    float *coefficients = block_scratch(data->scratch, b);
    set_coefficient(coefficients, P, block, p);
    set_coefficient(coefficients, Q, block, q);
    set_coefficient(coefficients, R, block, r);
}

/* The operands of a run of the backward pass. */
static struct run backward_run(const struct batch_norm_shape *shape, const struct plane *plane,
                               const struct batch_norm_backward *data, int image, int b)
{
    const size_t at = run_at(plane, image, b);
    struct run run = run_of(shape, plane);
    run.x = shifted(data->x, at);
    run.y = shape->residual ? shifted(data->y, at) : NULL;
    run.diff_count = shape->diff_count;
    for (int i = 0; i < shape->diff_count; i++)
        run.diffs[i] = shifted(data->diffs[i], at);
    run.g = (void *)shifted(data->g, at);
    run.out = (void *)shifted(data->dx, at);
    run.sums = run_scratch(plane, data->scratch, image, b);
    run.c = block_scratch(data->scratch, b);
    return run;
}

static void backward_group(const struct batch_norm_shape *shape, const struct plane *plane,
                           const struct batch_norm_backward *data, int from, int to)
{
    const struct run_kernels *kernels = &levels[cpu_level()];
#pragma omp parallel
    {
        const struct share share = share_of(plane, from, to);
        for (int k = share.begin; k < share.end; k++) {
            struct run run = backward_run(shape, plane, data, k % plane->runs, k / plane->runs);
            kernels->backward_sums(&run);
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int b = from; b < to; b++)
            finish_backward_sums(shape, plane, data, b);
        for (int k = share.end - 1; k >= share.begin; k--) {
            struct run run = backward_run(shape, plane, data, k % plane->runs, k / plane->runs);
            if (run.g) { /* summed and cut already */
                run.diffs[0] = run.g;
                run.relu = false;
            }
            kernels->backward_apply(&run);
        }
    }
}

void batch_norm_backward(const struct batch_norm_shape *shape,
                         const struct batch_norm_backward *data)
{
    const struct plane plane = plane_of(&shape->map);
    const int block = shape->map.block, group = group_of(&plane);
    for (int b = 0; b < plane.blocks; b++)
        set_affine(block_scratch(data->scratch, b), data->scale + b * block,
                   data->shift + b * block, data->mean + b * block, data->inverse + b * block,
                   block);
    for (int from = 0; from < plane.blocks; from += group)
        backward_group(shape, &plane, data, from,
                       from + group < plane.blocks ? from + group : plane.blocks);
}
