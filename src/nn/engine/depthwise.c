/* depthwise.c - runs put together: which thread does which, and the sums over images.
 *
 * Images are cut into parts, as many whatever the number of threads; a part's runs are walked in
 * the order of memory, and its gradient of the weights is summed by itself. */
#include "nn/engine/depthwise.h"

#include <omp.h>

#include "nn/engine/batch_norm_kernel.h"
#include "nn/engine/batch_norm_run.h"
#include "nn/engine/depthwise_run.h"

enum { PARTS = 32, TAPS = 9, TAP_FLOATS = TAPS * LANES };

struct tensor depthwise_result(const struct tensor *src, int stride)
{
    struct tensor dst = *src;
    dst.h = (src->h - 1) / stride + 1;
    dst.w = (src->w - 1) / stride + 1;
    return dst;
}

static int blocks_of(const struct depthwise *what)
{
    return tensor_channels(&what->src) / what->src.block;
}

static int parts_of(const struct depthwise *what)
{
    return what->src.n < PARTS ? what->src.n : PARTS;
}

static size_t row_floats(const struct depthwise *what)
{
    return depthwise_row_floats(what->src.block, what->src.w);
}

/* Scratch: every thread's rows, then every part's gradient of the weights. */
size_t depthwise_scratch(const struct depthwise *what)
{
    return (size_t)what->threads * row_floats(what) +
           (size_t)parts_of(what) * (size_t)blocks_of(what) * TAP_FLOATS;
}

static float *thread_rows(const struct depthwise *what, float *scratch)
{
    float *rows = scratch + (size_t)omp_get_thread_num() * row_floats(what);
    memset(rows, 0, row_floats(what) * sizeof(float));
    return rows;
}

static float *part_weights(const struct depthwise *what, float *scratch, int part, int block)
{
    return scratch + (size_t)what->threads * row_floats(what) +
           ((size_t)part * (size_t)blocks_of(what) + (size_t)block) * TAP_FLOATS;
}

/* The coefficients of a block, or of a batch norm that changes nothing. */
static const float *coefficients_of(const struct depthwise_norm *norm, int block)
{
    static const float none[COEFFICIENTS * LANES] = {
        [A * LANES] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    };
    return norm->coefficients ? norm->coefficients + (size_t)block * COEFFICIENTS * LANES : none;
}

/* Where the run of an image and a block of channels begins in a map. */
static const void *run_at(const struct tensor *map, const void *data, int image, int block)
{
    const size_t blocks = (size_t)(tensor_channels(map) / map->block);
    const size_t bytes = (size_t)map->h * (size_t)map->w * (size_t)map->block *
                         (map->type == PRECISION_BF16 ? 2 : 4);
    return data ? (const char *)data + ((size_t)image * blocks + (size_t)block) * bytes : NULL;
}

static struct depthwise_run run_of(const struct depthwise *what, const float *weights, int block)
{
    return (struct depthwise_run){.type = what->src.type,
                                  .block = what->src.block,
                                  .stride = what->stride,
                                  .h = what->src.h,
                                  .w = what->src.w,
                                  .dst_h = what->dst.h,
                                  .dst_w = what->dst.w,
                                  .weights =
                                      weights + (size_t)block * TAPS * (size_t)what->src.block};
}

void depthwise_forward(const struct depthwise *what, const struct depthwise_forward *data)
{
#pragma omp parallel num_threads(what->threads)
    {
        float *rows = thread_rows(what, data->scratch);
#pragma omp for schedule(static)
        for (int image = 0; image < what->src.n; image++)
            for (int b = 0; b < blocks_of(what); b++) {
                struct depthwise_run run = run_of(what, data->weights, b);
                run.x = run_at(&what->src, data->x, image, b);
                run.norm = coefficients_of(&data->norm, b);
                run.relu = data->norm.relu;
                run.out = (void *)run_at(&what->dst, data->y, image, b);
                run.sums = data->sums ? batch_norm_sums(&what->dst, data->sums, image, b) : NULL;
                run.rows = rows;
                depthwise_kernels()->forward(&run);
            }
    }
}

static void backward_run(const struct depthwise *what, const struct depthwise_backward *data,
                         int part, int image, int b, float *rows)
{
    struct depthwise_run run = run_of(what, data->weights, b);
    run.x = run_at(&what->src, data->x, image, b);
    run.norm = coefficients_of(&data->norm, b);
    run.relu = data->norm.relu;
    run.g = run_at(&what->dst, data->g, image, b);
    run.y = data->next.coefficients ? run_at(&what->dst, data->y, image, b) : NULL;
    run.next = coefficients_of(&data->next, b);
    run.next_relu = data->next.relu;
    run.out = (void *)run_at(&what->src, data->diff_src, image, b);
    run.sums = data->sums ? batch_norm_sums(&what->src, data->sums, image, b) : NULL;
    run.diff_weights = part_weights(what, data->scratch, part, b);
    run.rows = rows;
    depthwise_kernels()->backward(&run);
}

/* A block's gradient of the weights, over all parts and over the lanes that hold a channel. */
static void sum_parts(const struct depthwise *what, const struct depthwise_backward *data, int b)
{
    const int block = what->src.block;
    float *out = data->diff_weights + (size_t)b * TAPS * (size_t)block;
    for (int tap = 0; tap < TAPS; tap++)
        for (int c = 0; c < block; c++) {
            double sum = 0;
            for (int part = 0; part < parts_of(what); part++) {
                const float *lanes =
                    part_weights(what, data->scratch, part, b) + (size_t)tap * LANES;
                for (int lane = c; lane < LANES; lane += block)
                    sum += (double)lanes[lane];
            }
            out[tap * block + c] = (float)sum;
        }
}

void depthwise_backward(const struct depthwise *what, const struct depthwise_backward *data)
{
    const int parts = parts_of(what), blocks = blocks_of(what);
#pragma omp parallel num_threads(what->threads)
    {
        float *rows = thread_rows(what, data->scratch);
#pragma omp for schedule(static)
        for (int part = 0; part < parts; part++) {
            const int from = part * what->src.n / parts, to = (part + 1) * what->src.n / parts;
            memset(part_weights(what, data->scratch, part, 0), 0,
                   (size_t)blocks * TAP_FLOATS * sizeof(float));
            for (int image = from; image < to; image++)
                for (int b = 0; b < blocks; b++)
                    backward_run(what, data, part, image, b, rows);
        }
#pragma omp for schedule(static)
        for (int b = 0; b < blocks; b++)
            sum_parts(what, data, b);
    }
}
