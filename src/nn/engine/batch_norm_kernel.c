/* batch_norm_kernel.c - see the header for what is computed.
 *
 * The unit of work is a run: one image's map of one block of channels, h * w * block numbers in a
 * row. Each pass goes over all runs in parallel; between two passes the sums of the runs are put
 * together. Blocks of channels are taken in groups of about GROUP_BYTES, so that the second pass
 * finds in the cache what the first one read. */
#include "nn/engine/batch_norm_kernel.h"

#include <math.h>
#include <stdint.h>

#include "base/cpu.h"
#include "nn/engine/vector.h"

enum { GROUP_BYTES = 8 << 20, SUMS = 2 * LANES };

/* What the passes read per run. a, b: y = x * a + b; p, q, r: dx = g * p + x * q + r. */
struct coefficients {
    vector a, b, p, q, r, mean;
};

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
    for (; at < count; at += LANES) {
        int lanes = count - at < LANES ? (int)(count - at) : LANES;
        vector d = vector_load(type, x, at, lanes) - x0;
        if (lanes < LANES)
            for (int i = lanes; i < LANES; i++)
                d[i] = 0;
        s0 += d;
        q0 += d * d;
    }
    s0 += s1;
    q0 += q1;
    memcpy(sums, &s0, sizeof(s0));
    memcpy(sums + LANES, &q0, sizeof(q0));
}

KERNEL_INLINE void run_apply(enum precision type, bool relu, const void *x, const void *residual,
                             void *y, size_t count, const struct coefficients *c)
{
    for (size_t at = 0; at < count; at += LANES) {
        int lanes = count - at < LANES ? (int)(count - at) : LANES;
        vector v = vector_load(type, x, at, lanes) * c->a + c->b;
        if (residual)
            v += vector_load(type, residual, at, lanes);
        vector_store(type, y, at, lanes, relu ? vector_relu(v) : v);
    }
}

/* The gradient before normalisation at one place: all diffs, cut where the ReLU cut. */
KERNEL_INLINE vector masked(enum precision type, bool relu, const void *const *diffs,
                            int diff_count, const void *y, vector x, const struct coefficients *c,
                            size_t at, int lanes)
{
    vector g = vector_load(type, diffs[0], at, lanes);
    for (int i = 1; i < diff_count; i++)
        g += vector_load(type, diffs[i], at, lanes);
    if (!relu)
        return g;
    return vector_where_positive(y ? vector_load(type, y, at, lanes) : x * c->a + c->b, g);
}

/* Sums of g and of g (x - mean); stores g when wanted. */
KERNEL_INLINE void run_backward_sums(enum precision type, bool relu, const void *const *diffs,
                                     int diff_count, const void *y, const void *x, void *g_out,
                                     size_t count, const struct coefficients *c, float *sums)
{
    vector s = {0}, p = {0};
    for (size_t at = 0; at < count; at += LANES) {
        int lanes = count - at < LANES ? (int)(count - at) : LANES;
        vector v = vector_load(type, x, at, lanes);
        vector g = masked(type, relu, diffs, diff_count, y, v, c, at, lanes);
        if (g_out)
            vector_store(type, g_out, at, lanes, g);
        s += g;
        p += g * (v - c->mean);
    }
    memcpy(sums, &s, sizeof(s));
    memcpy(sums + LANES, &p, sizeof(p));
}

KERNEL_INLINE void run_backward_apply(enum precision type, bool relu, const void *const *diffs,
                                      int diff_count, const void *y, const void *x, void *dx,
                                      size_t count, const struct coefficients *c)
{
    for (size_t at = 0; at < count; at += LANES) {
        int lanes = count - at < LANES ? (int)(count - at) : LANES;
        vector v = vector_load(type, x, at, lanes);
        vector g = masked(type, relu, diffs, diff_count, y, v, c, at, lanes);
        vector_store(type, dx, at, lanes, g * c->p + v * c->q + c->r);
    }
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
    const struct coefficients *c;
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

KERNEL_INLINE void backward_sums_any(const struct run *r)
{
    if (r->diff_count == 1 && !r->g)
        BY_TYPE(r, run_backward_sums(type, relu, r->diffs, 1, r->y, r->x, NULL, r->count, r->c,
                                     r->sums));
    else
        BY_TYPE(r, run_backward_sums(type, relu, r->diffs, r->diff_count, r->y, r->x, r->g,
                                     r->count, r->c, r->sums));
}

KERNEL_INLINE void backward_apply_any(const struct run *r)
{
    BY_TYPE(r, run_backward_apply(type, relu, r->diffs, 1, r->y, r->x, r->out, r->count, r->c));
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

/* Scratch per run: SUMS floats of sums, LANES of the first position. */
enum { RUN_SCRATCH = SUMS + LANES };

size_t batch_norm_scratch(const struct batch_norm_shape *shape)
{
    struct plane plane = plane_of(&shape->map);
    return (size_t)plane.blocks * plane.runs * RUN_SCRATCH;
}

/* Both sums of one channel, over the lanes that hold it. */
static void channel_sums(const float *scratch, int block, int channel, double *sum, double *other)
{
    *sum = *other = 0;
    for (int lane = channel; lane < LANES; lane += block) {
        *sum += scratch[lane];
        *other += scratch[LANES + lane];
    }
}

/* Mean and sum of squared deviations of two parts make those of both (Chan, Golub and LeVeque
 * 1979). */
static void statistics(const struct plane *plane, int block, const float *scratch, int channel,
                       double *mean, double *var)
{
    double part = (double)plane->count / block, total = 0, average = 0, deviations = 0;
    for (int run = 0; run < plane->runs; run++, scratch += RUN_SCRATCH) {
        double sum, squares;
        channel_sums(scratch, block, channel, &sum, &squares);
        double run_mean = sum / part + scratch[SUMS + channel];
        double run_deviations = squares - sum * sum / part;
        double distance = run_mean - average, next = total + part;
        deviations += run_deviations + distance * distance * total * part / next;
        average += distance * part / next;
        total = next;
    }
    *mean = average;
    *var = deviations > 0 ? deviations / total : 0;
}

static void finish_statistics(const struct batch_norm_shape *shape, const struct plane *plane,
                              const struct batch_norm_forward *data, int b)
{
    int block = shape->map.block;
    double count = (double)plane->count / block * plane->runs;
    for (int c = b * block; c < (b + 1) * block; c++) {
        double mean, var;
        const float *scratch = data->scratch + (size_t)(c / block) * plane->runs * RUN_SCRATCH;
        statistics(plane, block, scratch, c % block, &mean, &var);
        data->mean[c] = (float)mean;
        data->inverse[c] = (float)(1 / sqrt(var + shape->epsilon));
        double unbiased = count > 1 ? var * count / (count - 1) : var;
        float m = shape->momentum;
        data->running_mean[c] = (float)((1 - m) * (double)data->running_mean[c] + m * mean);
        data->running_var[c] = (float)((1 - m) * (double)data->running_var[c] + m * unbiased);
    }
}

static void affine(const float *scale, const float *shift, const float *mean, const float *inverse,
                   int block, int from, struct coefficients *c)
{
    float a[LANES], b[LANES];
    for (int i = 0; i < block; i++) {
        a[i] = scale[from + i] * inverse[from + i];
        b[i] = shift[from + i] - mean[from + i] * a[i];
    }
    c->a = vector_channels(a, block);
    c->b = vector_channels(b, block);
    c->mean = vector_channels(mean + from, block);
}

void batch_norm_forward(const struct batch_norm_shape *shape, const struct batch_norm_forward *data)
{
    const struct run_kernels *kernels = &levels[cpu_level()];
    const struct plane plane = plane_of(&shape->map);
    const int block = shape->map.block, group = group_of(&plane);
    for (int from = 0; from < plane.blocks; from += group) {
        const int to = from + group < plane.blocks ? from + group : plane.blocks;
#pragma omp parallel
        {
#pragma omp for collapse(2) schedule(static)
            for (int b = from; b < to; b++)
                for (int i = 0; i < plane.runs; i++) {
                    struct run run = run_of(shape, &plane);
                    run.x = shifted(data->x, run_at(&plane, i, b));
                    run.sums = data->scratch + ((size_t)b * plane.runs + i) * RUN_SCRATCH;
                    run.first = run.sums + SUMS;
                    kernels->sums(&run);
                }
#pragma omp for schedule(static)
            for (int b = from; b < to; b++)
                finish_statistics(shape, &plane, data, b);
#pragma omp for collapse(2) schedule(static)
            for (int b = from; b < to; b++)
                for (int i = 0; i < plane.runs; i++) {
                    struct coefficients c;
                    struct run run = run_of(shape, &plane);
                    size_t at = run_at(&plane, i, b);
                    affine(data->scale, data->shift, data->mean, data->inverse, block, b * block,
                           &c);
                    run.x = shifted(data->x, at);
                    run.residual = shifted(data->residual, at);
                    run.out = (void *)shifted(data->y, at);
                    run.c = &c;
                    kernels->apply(&run);
                }
        }
    }
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
            struct coefficients c = {.a = vector_channels(a + k * block, block),
                                     .b = vector_channels(b + k * block, block)};
            struct run run = run_of(shape, &plane);
            size_t at = run_at(&plane, i, k);
            run.x = shifted(x, at);
            run.residual = shifted(residual, at);
            run.out = (void *)shifted(y, at);
            run.c = &c;
            kernels->apply(&run);
        }
}

/* ---- backward ---- */

static void finish_backward_sums(const struct batch_norm_shape *shape, const struct plane *plane,
                                 const struct batch_norm_backward *data, int b)
{
    int block = shape->map.block;
    for (int c = b * block; c < (b + 1) * block; c++) {
        const float *scratch = data->scratch + (size_t)(c / block) * plane->runs * RUN_SCRATCH;
        double sum = 0, products = 0;
        for (int run = 0; run < plane->runs; run++, scratch += RUN_SCRATCH) {
            double run_sum, run_products;
            channel_sums(scratch, block, c % block, &run_sum, &run_products);
            sum += run_sum;
            products += run_products;
        }
        data->diff_shift[c] = (float)sum;
        data->diff_scale[c] = (float)(products * data->inverse[c]);
    }
}

/* dx = p g + q x + r, the header's formula solved for g and x. */
static void backward_coefficients(const struct plane *plane, const struct batch_norm_backward *data,
                                  int block, int from, struct coefficients *c)
{
    float p[LANES], q[LANES], r[LANES];
    double count = (double)plane->count / block * plane->runs;
    for (int i = 0; i < block; i++) {
        int k = from + i;
        double scale = (double)data->scale[k] * data->inverse[k];
        double slope = -scale * data->inverse[k] * data->diff_scale[k] / count;
        p[i] = (float)scale;
        q[i] = (float)slope;
        r[i] = (float)(-scale * data->diff_shift[k] / count - slope * data->mean[k]);
    }
    c->p = vector_channels(p, block);
    c->q = vector_channels(q, block);
    c->r = vector_channels(r, block);
}

/* The operands of a run of the backward pass. */
static void backward_run(const struct batch_norm_shape *shape, const struct plane *plane,
                         const struct batch_norm_backward *data, int image, int b,
                         struct coefficients *c, struct run *run)
{
    const int block = shape->map.block;
    size_t at = run_at(plane, image, b);
    affine(data->scale, data->shift, data->mean, data->inverse, block, b * block, c);
    *run = run_of(shape, plane);
    run->x = shifted(data->x, at);
    run->y = shape->residual ? shifted(data->y, at) : NULL;
    run->diff_count = shape->diff_count;
    for (int i = 0; i < shape->diff_count; i++)
        run->diffs[i] = shifted(data->diffs[i], at);
    run->g = (void *)shifted(data->g, at);
    run->sums = data->scratch + ((size_t)b * plane->runs + image) * RUN_SCRATCH;
    run->c = c;
}

void batch_norm_backward(const struct batch_norm_shape *shape,
                         const struct batch_norm_backward *data)
{
    const struct run_kernels *kernels = &levels[cpu_level()];
    const struct plane plane = plane_of(&shape->map);
    const int block = shape->map.block, group = group_of(&plane);
    for (int from = 0; from < plane.blocks; from += group) {
        const int to = from + group < plane.blocks ? from + group : plane.blocks;
#pragma omp parallel
        {
#pragma omp for collapse(2) schedule(static)
            for (int b = from; b < to; b++)
                for (int i = 0; i < plane.runs; i++) {
                    struct coefficients c;
                    struct run run;
                    backward_run(shape, &plane, data, i, b, &c, &run);
                    kernels->backward_sums(&run);
                }
#pragma omp for schedule(static)
            for (int b = from; b < to; b++)
                finish_backward_sums(shape, &plane, data, b);
#pragma omp for collapse(2) schedule(static)
            for (int b = from; b < to; b++)
                for (int i = 0; i < plane.runs; i++) {
                    struct coefficients c;
                    struct run run;
                    backward_run(shape, &plane, data, i, b, &c, &run);
                    backward_coefficients(&plane, data, block, b * block, &c);
                    if (run.g) { /* summed and cut already */
                        run.diffs[0] = run.g;
                        run.relu = false;
                    }
                    run.out = (void *)shifted(data->dx, run_at(&plane, i, b));
                    kernels->backward_apply(&run);
                }
        }
    }
}
