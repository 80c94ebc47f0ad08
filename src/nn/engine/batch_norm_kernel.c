/* batch_norm_kernel.c - see the header for what is computed.
 *
 * The unit of work is a run (batch_norm_run.h). Each pass goes over all runs in parallel; between
 * two passes the sums of the runs are put together. Blocks of channels are taken in groups of about
 * GROUP_BYTES, so that the second pass finds in the cache what the first one read. */
#include "nn/engine/batch_norm_kernel.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>

#include "nn/engine/batch_norm_run.h"
#include "nn/engine/elementwise.h"

enum { GROUP_BYTES = 8 << 20 };

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

/* Scratch: of every run SUMS floats of sums and LANES of its first position, then of every thread a
 * row for each operand that is a view. */
enum { RUN_SCRATCH = SUMS + LANES, BLOCK_COEFFICIENTS = COEFFICIENTS * LANES };

static size_t row_floats(const struct batch_norm_shape *shape)
{
    return (size_t)shape->map.w * LANES;
}

static size_t run_floats(const struct plane *plane)
{
    return (size_t)plane->blocks * (size_t)plane->runs * RUN_SCRATCH;
}

size_t batch_norm_scratch(const struct batch_norm_shape *shape)
{
    struct plane plane = plane_of(&shape->map);
    return run_floats(&plane) + (size_t)shape->threads * BATCH_NORM_DIFFS * row_floats(shape);
}

size_t batch_norm_coefficients(const struct tensor *map)
{
    return (size_t)(tensor_channels(map) / map->block) * BLOCK_COEFFICIENTS;
}

/* The row of operand number i. */
static float *thread_row(const struct batch_norm_shape *shape, const struct plane *plane,
                         float *scratch, int i)
{
    const size_t number = (size_t)omp_get_thread_num() * BATCH_NORM_DIFFS + (size_t)i;
    return scratch + run_floats(plane) + number * row_floats(shape);
}

static float *run_scratch(const struct plane *plane, float *scratch, int image, int b)
{
    return scratch + ((size_t)b * (size_t)plane->runs + (size_t)image) * RUN_SCRATCH;
}

float *batch_norm_sums(const struct tensor *map, float *scratch, int image, int block)
{
    struct plane plane = plane_of(map);
    return run_scratch(&plane, scratch, image, block);
}

static float *block_coefficients(float *coefficients, int b)
{
    return coefficients + (size_t)b * BLOCK_COEFFICIENTS;
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
    set_affine(block_coefficients(data->coefficients, b), data->scale + from, data->shift + from,
               data->mean + from, data->inverse + from, block);
}

/* This thread's share of the runs of blocks from .. to-1: the same in every pass, so that a pass
 * finds in the core's own cache what the one before it left there. The second pass walks backwards:
 * it begins with what was touched last. Runs are counted as they lie in memory, image by image:
 * those of small maps are too short for the processor to read ahead otherwise. */
struct share {
    int blocks, begin, end;
};

static struct share share_of(const struct plane *plane, int from, int to)
{
    const long runs = (long)(to - from) * plane->runs;
    const int threads = omp_get_num_threads(), thread = omp_get_thread_num();
    return (struct share){to - from, (int)(runs * thread / threads),
                          (int)(runs * (thread + 1) / threads)};
}

/* A run row by row, the residual's numbers being picked for each. */
static void apply_rows(const struct batch_norm_shape *shape, const struct plane *plane,
                       const struct batch_norm_forward *data, int image, int b,
                       const struct run *whole)
{
    const size_t bytes = plane->bytes / (size_t)shape->map.h;
    float *row = thread_row(shape, plane, data->scratch, 0);
    struct run run = *whole;
    run.count = plane->count / (size_t)shape->map.h;
    run.residual = row;
    for (int y = 0; y < shape->map.h; y++) {
        shortcut_row(shape->residual_view, image, b, y, data->residual, row);
        run.x = shifted(whole->x, (size_t)y * bytes);
        run.out = (void *)shifted(whole->out, (size_t)y * bytes);
        batch_norm_run_kernels()->apply(&run);
    }
}

static void sum_share(const struct batch_norm_shape *shape, const struct plane *plane,
                      const struct batch_norm_forward *data, int from, const struct share *share)
{
    for (int k = share->begin; k < share->end; k++) {
        const int b = from + k % share->blocks, i = k / share->blocks;
        struct run run = run_of(shape, plane);
        run.x = shifted(data->x, run_at(plane, i, b));
        run.sums = run_scratch(plane, data->scratch, i, b);
        run.first = run.sums + SUMS;
        batch_norm_run_kernels()->sums(&run);
    }
}

static void apply_share(const struct batch_norm_shape *shape, const struct plane *plane,
                        const struct batch_norm_forward *data, int from, const struct share *share)
{
    for (int k = share->end - 1; k >= share->begin; k--) {
        const int b = from + k % share->blocks, i = k / share->blocks;
        const size_t at = run_at(plane, i, b);
        struct run run = run_of(shape, plane);
        run.x = shifted(data->x, at);
        run.residual = shifted(data->residual, at);
        run.out = (void *)shifted(data->y, at);
        run.c = block_coefficients(data->coefficients, b);
        if (shape->residual_view)
            apply_rows(shape, plane, data, i, b, &run);
        else
            batch_norm_run_kernels()->apply(&run);
    }
}

static void forward_group(const struct batch_norm_shape *shape, const struct plane *plane,
                          const struct batch_norm_forward *data, int from, int to)
{
#pragma omp parallel num_threads(shape->threads)
    {
        const struct share share = share_of(plane, from, to);
        if (!shape->sums_known)
            sum_share(shape, plane, data, from, &share);
#pragma omp barrier
#pragma omp for schedule(static)
        for (int b = from; b < to; b++)
            finish_statistics(shape, plane, data, b);
        if (data->y)
            apply_share(shape, plane, data, from, &share);
    }
}

/* Blocks of channels that are taken together: all, when there is no second pass over a map. */
static int group_for(const struct batch_norm_shape *shape, const struct plane *plane,
                     const void *out)
{
    return shape->sums_known || !out ? plane->blocks : group_of(plane);
}

void batch_norm_forward(const struct batch_norm_shape *shape, const struct batch_norm_forward *data)
{
    const struct plane plane = plane_of(&shape->map);
    const int group = group_for(shape, &plane, data->y);
    for (int from = 0; from < plane.blocks; from += group)
        forward_group(shape, &plane, data, from,
                      from + group < plane.blocks ? from + group : plane.blocks);
}

void batch_norm_apply(const struct batch_norm_shape *shape, const void *x, const void *residual,
                      void *y, const float *a, const float *b)
{
    const struct run_kernels *kernels = batch_norm_run_kernels();
    const struct plane plane = plane_of(&shape->map);
    const int block = shape->map.block;
#pragma omp parallel for collapse(2) schedule(static)
    for (int i = 0; i < plane.runs; i++)
        for (int k = 0; k < plane.blocks; k++) {
            float coefficients[BLOCK_COEFFICIENTS];
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
    float *coefficients = block_coefficients(data->coefficients, b);
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
    run.c = block_coefficients(data->coefficients, b);
    return run;
}

static bool has_views(const struct batch_norm_shape *shape)
{
    for (int i = 0; i < shape->diff_count; i++)
        if (shape->diff_views[i])
            return true;
    return false;
}

/* A run row by row, gradients that come through shortcuts being spread for each. */
static void sum_rows(const struct batch_norm_shape *shape, const struct plane *plane,
                     const struct batch_norm_backward *data, int image, int b,
                     const struct run *whole)
{
    const size_t bytes = plane->bytes / (size_t)shape->map.h;
    float sums[SUMS], all[SUMS] = {0};
    struct run run = *whole;
    run.count = plane->count / (size_t)shape->map.h;
    run.sums = sums;
    for (int y = 0; y < shape->map.h; y++) {
        const size_t at = (size_t)y * bytes;
        for (int i = 0; i < shape->diff_count; i++) {
            float *row = thread_row(shape, plane, data->scratch, i);
            if (shape->diff_views[i])
                shortcut_diff_row(shape->diff_views[i], image, b, y, data->diffs[i], row);
            run.diffs[i] = shape->diff_views[i] ? row : shifted(whole->diffs[i], at);
        }
        run.x = shifted(whole->x, at);
        run.y = shifted(whole->y, at);
        run.g = (void *)shifted(whole->g, at);
        batch_norm_run_kernels()->backward_sums(&run);
        for (int i = 0; i < SUMS; i++)
            all[i] += sums[i];
    }
    for (int i = 0; i < SUMS; i++)
        whole->sums[i] = all[i];
}

static void backward_sum_share(const struct batch_norm_shape *shape, const struct plane *plane,
                               const struct batch_norm_backward *data, int from,
                               const struct share *share)
{
    const bool views = has_views(shape);
    for (int k = share->begin; k < share->end; k++) {
        const int image = k / share->blocks, b = from + k % share->blocks;
        struct run run = backward_run(shape, plane, data, image, b);
        if (views)
            sum_rows(shape, plane, data, image, b, &run);
        else
            batch_norm_run_kernels()->backward_sums(&run);
    }
}

static void backward_apply_share(const struct batch_norm_shape *shape, const struct plane *plane,
                                 const struct batch_norm_backward *data, int from,
                                 const struct share *share)
{
    for (int k = share->end - 1; k >= share->begin; k--) {
        struct run run =
            backward_run(shape, plane, data, k / share->blocks, from + k % share->blocks);
        if (run.g) { /* summed and cut already */
            run.diffs[0] = run.g;
            run.relu = false;
        }
        batch_norm_run_kernels()->backward_apply(&run);
    }
}

static void backward_group(const struct batch_norm_shape *shape, const struct plane *plane,
                           const struct batch_norm_backward *data, int from, int to)
{
#pragma omp parallel num_threads(shape->threads)
    {
        const struct share share = share_of(plane, from, to);
        if (!shape->sums_known)
            backward_sum_share(shape, plane, data, from, &share);
#pragma omp barrier
#pragma omp for schedule(static)
        for (int b = from; b < to; b++)
            finish_backward_sums(shape, plane, data, b);
        if (data->dx)
            backward_apply_share(shape, plane, data, from, &share);
    }
}

void batch_norm_backward(const struct batch_norm_shape *shape,
                         const struct batch_norm_backward *data)
{
    const struct plane plane = plane_of(&shape->map);
    const int group = group_for(shape, &plane, data->dx);
    for (int from = 0; from < plane.blocks; from += group)
        backward_group(shape, &plane, data, from,
                       from + group < plane.blocks ? from + group : plane.blocks);
}
