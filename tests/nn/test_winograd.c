/* test_winograd.c - Winograd's convolution against a slow twin, a direct 3x3 convolution with sums
 * in double: both blocks, both precisions, maps and channels that fill no whole tile, block or
 * panel, every tail of the forward pass, and all three passes. Outputs, transformed weights and
 * scratch hold NaN beforehand.
 *
 * Tolerances, with u the rounding of a float (6e-8). A plain sum is off by a few u times the sum of
 * its products' magnitudes. Here an output is made from all numbers of its tile, so the magnitude
 * is the largest of the tile (of the 3x3 kernel, for the gradient of weights), and no less than
 * what 36 numbers of about 1 make, however few or small an output's own products are. ROUNDINGS
 * allows for four transformations and the sum over channels: the worst found, among millions, was
 * 7.4. bf16 results may be off by half a step more, 2^-8 of themselves; the sums before are floats
 * for both precisions. Biases are plain sums. */
#include "sketch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "nn/engine/onednn.h"
#include "nn/engine/winograd.h"

static const double U = 6e-8, ROUNDINGS = 12, BIAS_ROUNDINGS = 4;

/* ---- problems ---- */

struct sizes {
    int n, ic, oc, h, w;
};
static const struct sizes cases[] = {
    {1, 5, 16, 3, 3},    /* one tile, less work than threads */
    {3, 16, 5, 4, 4},    /* one whole tile an image */
    {1, 5, 5, 3, 201},   /* a row of tiles that is more than a chunk */
    {5, 17, 33, 5, 7},   /* panels of 3 blocks */
    {5, 16, 17, 16, 17}, /* several chunks; panels of 2 */
    {1, 33, 48, 13, 9},  /* from here on threads share one sum of gradients, of blocks of 8 */
    {3, 48, 64, 8, 8},   /* a full panel of 4 */
    {1, 64, 80, 16, 5},  /* a panel of 4 and one of 1 */
    {3, 130, 17, 5, 7},  /* panels of 4, 4 and 1 for the gradient of the source */
    {1, 80, 130, 4, 4},  /* from here on they share that of blocks of 16 too */
    {3, 130, 130, 5, 3}, /* such panels for both */
    {1, 385, 3, 60, 80}, /* several chunks that threads share */
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

/* A convolution's numbers, plain: maps (n, c, h, w), weights (oc, ic, 3, 3). */
enum operand { SRC, WEIGHTS, DST, OPERANDS };
struct problem {
    struct sizes sizes;
    enum precision type;
    size_t count[OPERANDS];
    double *given[OPERANDS]; /* as the kernel holds them; DST: its gradient, or the residual */
    double *bias;
    /* What the twin makes: the operand, and how far the kernel's may be from it. */
    double *wanted, *slack;
};

static void *block_of(size_t bytes)
{
    void *block;
    assert_ok(memory_aligned(bytes, &block));
    return block;
}

static void *nan_of(size_t bytes)
{
    void *block = block_of(bytes);
    memset(block, 0xff, bytes);
    return block;
}

/* Normal numbers, rounded to what a map holds. */
static double *numbers_of(size_t count, enum precision type, uint64_t seed)
{
    float *drawn = sketch_numbers(count, seed);
    double *made = block_of(count * sizeof(*made));
    for (size_t i = 0; i < count; i++)
        made[i] =
            (double)(type == PRECISION_BF16 ? bf16_to_float(bf16_from_float(drawn[i])) : drawn[i]);
    free(drawn);
    return made;
}

static void open_problem(struct problem *p, const struct sizes *s, enum precision type)
{
    const size_t map = (size_t)s->n * (size_t)s->h * (size_t)s->w;
    *p = (struct problem){*s, type};
    p->count[SRC] = map * (size_t)s->ic;
    p->count[DST] = map * (size_t)s->oc;
    p->count[WEIGHTS] = 9 * (size_t)s->ic * (size_t)s->oc;
    p->given[SRC] = numbers_of(p->count[SRC], type, 1);
    p->given[DST] = numbers_of(p->count[DST], type, 2);
    p->given[WEIGHTS] = numbers_of(p->count[WEIGHTS], PRECISION_F32, 3);
    p->bias = numbers_of((size_t)s->oc, PRECISION_F32, 4);
}

static void close_problem(struct problem *p)
{
    for (int i = 0; i < OPERANDS; i++)
        free(p->given[i]);
    free(p->bias);
    free(p->wanted);
    free(p->slack);
}

/* ---- the slow twin ---- */

enum { TILE_NUMBERS = 36 };

/* One weight, and runs of src and dst that meet in it: adds to one of them what the others say. */
static void add_products(enum operand to, double *weight, double *src, double *dst, int count)
{
    double sum = 0;
    if (to == DST)
        for (int x = 0; x < count; x++)
            dst[x] += src[x] * *weight;
    else if (to == SRC)
        for (int x = 0; x < count; x++)
            src[x] += dst[x] * *weight;
    else
        for (int x = 0; x < count; x++)
            sum += src[x] * dst[x];
    if (to == WEIGHTS)
        *weight += sum;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

/* One plane of src and one of dst, through their 3x3 kernel. */
static void convolve_planes(const struct sizes *s, enum operand to, double *kernel, double *src,
                            double *dst)
{
    for (int k = 0; k < 9; k++) {
        const int down = k / 3 - 1, right = k % 3 - 1, x = larger(0, -right);
        for (int y = larger(0, -down); y < s->h - larger(0, down); y++)
            add_products(to, kernel + k, src + (y + down) * s->w + x + right, dst + y * s->w + x,
                         s->w - abs(right));
    }
}

static void convolve(const struct sizes *s, enum operand to, double *const *at)
{
    const size_t plane = (size_t)s->h * (size_t)s->w;
    for (int n = 0; n < s->n; n++)
        for (int o = 0; o < s->oc; o++)
            for (int i = 0; i < s->ic; i++)
                convolve_planes(s, to, at[WEIGHTS] + 9 * ((size_t)o * (size_t)s->ic + (size_t)i),
                                at[SRC] + plane * ((size_t)n * (size_t)s->ic + (size_t)i),
                                at[DST] + plane * ((size_t)n * (size_t)s->oc + (size_t)o));
}

/* Every number of a plane becomes the largest of its tile. */
static void spread_over_tiles(double *plane, int h, int w, int tile)
{
    for (int y = 0; y < h; y += tile)
        for (int x = 0; x < w; x += tile) {
            double largest = 0;
            for (int i = 0; i < tile * tile; i++)
                if (y + i / tile < h && x + i % tile < w)
                    largest = fmax(largest, plane[(y + i / tile) * w + x + i % tile]);
            for (int i = 0; i < tile * tile; i++)
                if (y + i / tile < h && x + i % tile < w)
                    plane[(y + i / tile) * w + x + i % tile] = largest;
        }
}

/* p->wanted and p->slack of one operand, from the others. */
static void ask_twin(struct problem *p, enum operand to)
{
    double *numbers[OPERANDS], *magnitudes[OPERANDS];
    const size_t count = p->count[to];
    const int h = to == WEIGHTS ? 3 : p->sizes.h, w = to == WEIGHTS ? 3 : p->sizes.w;
    for (int i = 0; i < OPERANDS; i++) {
        numbers[i] = p->given[i];
        magnitudes[i] = block_of(p->count[i] * sizeof(double));
        for (size_t k = 0; k < p->count[i]; k++)
            magnitudes[i][k] = i == (int)to ? 0 : fabs(p->given[i][k]);
    }
    free(p->wanted);
    free(p->slack);
    p->wanted = numbers[to] = block_of(count * sizeof(double));
    p->slack = magnitudes[to];
    convolve(&p->sizes, to, numbers);
    convolve(&p->sizes, to, magnitudes);
    for (size_t i = 0; i < count; i += (size_t)h * (size_t)w)
        spread_over_tiles(p->slack + i, h, w, to == WEIGHTS ? 3 : 4);
    for (size_t i = 0; i < count; i++)
        p->slack[i] = ROUNDINGS * U * (p->slack[i] + TILE_NUMBERS);
    for (int i = 0; i < OPERANDS; i++)
        if (i != (int)to)
            free(magnitudes[i]);
}

/* ---- as the kernel wants it ---- */

static const int blocks[] = {8, 16};
enum { BLOCKS = sizeof(blocks) / sizeof(blocks[0]), MOST_THREADS = 3 };

static struct winograd winograd_of(const struct problem *p, int block, int threads)
{
    const struct sizes *s = &p->sizes;
    return (struct winograd){p->type, s->n, s->ic, s->oc, s->h, s->w, block, threads};
}

/* bf16 in blocks of 16 takes instructions that not every AVX-512 machine has. */
static bool runs_here(const struct problem *p, int block)
{
    const struct winograd what = winograd_of(p, block, 1);
    return winograd_fits(&what) && (p->type == PRECISION_F32 || block == 8 || dnn_has_bf16());
}

static const char *describe(const struct winograd *what)
{
    static char text[128];
    snprintf(text, sizeof(text), "%s block %d, %d images %d -> %d channels at %dx%d, %d threads",
             what->type == PRECISION_BF16 ? "bf16" : "f32", what->block, what->n, what->ic,
             what->oc, what->h, what->w, what->threads);
    return text;
}

/* SRC or DST; full of NaN when no numbers are given. */
static struct tensor map_of(const struct problem *p, enum operand which, int block,
                            const double *numbers)
{
    const struct sizes *s = &p->sizes;
    const size_t count = p->count[which];
    struct tensor map = {p->type, s->n, which == SRC ? s->ic : s->oc, s->h, s->w, block, NULL};
    map.data = nan_of(tensor_bytes(&map));
    if (numbers) {
        float *plain = block_of(count * sizeof(*plain));
        for (size_t i = 0; i < count; i++)
            plain[i] = (float)numbers[i];
        tensor_from_plain(plain, &map);
        free(plain);
    }
    return map;
}

static size_t up(int count, int block)
{
    return (size_t)((count + block - 1) / block * block);
}

/* Where (o, i, 0, 0) lies among weights; one kernel's numbers are block * block apart. */
static size_t weight_place(const struct winograd *what, int o, int i)
{
    const size_t block = (size_t)what->block, in = up(what->ic, what->block) / block;
    return (((size_t)o / block * in + (size_t)i / block) * 9 * block + (size_t)i % block) * block +
           (size_t)o % block;
}

static size_t weight_count(const struct winograd *what)
{
    return 9 * up(what->ic, what->block) * up(what->oc, what->block);
}

static float *weights_of(const struct problem *p, const struct winograd *what)
{
    float *made = block_of(weight_count(what) * sizeof(*made));
    for (int o = 0; o < what->oc; o++)
        for (int i = 0; i < what->ic; i++)
            for (int k = 0; k < 9; k++)
                made[weight_place(what, o, i) + (size_t)(k * what->block * what->block)] =
                    (float)p->given[WEIGHTS][(o * what->ic + i) * 9 + k];
    return made;
}

static float *bias_of(const struct problem *p, int block)
{
    float *made = block_of(up(p->sizes.oc, block) * sizeof(*made));
    for (int o = 0; o < p->sizes.oc; o++)
        made[o] = (float)p->bias[o];
    return made;
}

static double number(const struct tensor *map, size_t place)
{
    return map->type == PRECISION_BF16 ? (double)bf16_to_float(((const uint16_t *)map->data)[place])
                                       : (double)((const float *)map->data)[place];
}

static void check_number(const struct winograd *what, const char *name, size_t place, double found,
                         double wanted, double slack)
{
    if (!(fabs(found - wanted) <= slack))
        fail_msg("%s: %s[%zu]: %.9g found, %.9g wanted, within %.3g", describe(what), name, place,
                 found, wanted, slack);
}

/* A map's numbers, and zeros beyond its channels. */
static void check_map(const struct winograd *what, const char *name, const struct tensor *map,
                      const double *wanted, const double *slack)
{
    const double storing = map->type == PRECISION_BF16 ? 1.0 / 256 : 0;
    const size_t plane = (size_t)map->h * (size_t)map->w, block = (size_t)map->block;
    const size_t channels = (size_t)tensor_channels(map), c_count = (size_t)map->c;
    for (size_t i = 0; i < tensor_count(map); i++) {
        const size_t n = i / (channels * plane), at = i / block % plane;
        const size_t c = i / (plane * block) % (channels / block) * block + i % block;
        const size_t k = (n * c_count + c) * plane + at;
        if (c >= c_count)
            check_number(what, name, i, number(map, i), 0, 0);
        else
            check_number(what, name, i, number(map, i), wanted[k],
                         slack[k] + storing * (fabs(wanted[k]) + slack[k]));
    }
}

static void check_equal(const struct winograd *what, const char *name, const void *found,
                        const void *wanted, size_t bytes)
{
    if (memcmp(found, wanted, bytes))
        fail_msg("%s: %s differs from that of one thread, or of the run before", describe(what),
                 name);
}

/* A whole forward pass: `data` without u and scratch. */
static void run_forward(const struct winograd *what, const float *weights, bool turned,
                        struct winograd_forward data)
{
    float *u = nan_of(winograd_weights_count(what) * sizeof(*u));
    data.u = u;
    data.scratch = nan_of(winograd_forward_scratch(what) * sizeof(*data.scratch));
    (turned ? winograd_weights_turned : winograd_weights)(what, weights, u);
    winograd_forward(what, &data);
    free(u);
    free(data.scratch);
}

/* ---- forward ---- */

enum residual { NO_RESIDUAL, RESIDUAL, RESIDUAL_IN_PLACE, RESIDUALS };
struct tail {
    bool bias, relu;
    enum residual residual;
};
enum { TAILS = 2 * 2 * RESIDUALS };

/* What the tail makes of the twin's sums; the residual is what the gradient would be. */
static void ask_tail(const struct problem *p, const struct tail *tail, double *wanted,
                     double *slack)
{
    const size_t plane = (size_t)p->sizes.h * (size_t)p->sizes.w;
    for (size_t i = 0; i < p->count[DST]; i++) {
        const double bias = tail->bias ? p->bias[i / plane % (size_t)p->sizes.oc] : 0;
        const double residual = tail->residual ? p->given[DST][i] : 0;
        wanted[i] = p->wanted[i] + bias + residual;
        slack[i] = p->slack[i] + 2 * U * (fabs(p->wanted[i]) + fabs(bias) + fabs(residual));
        if (tail->relu)
            wanted[i] = fmax(wanted[i], 0);
    }
}

/* What all forward passes of a problem in one kind of blocks read. */
struct operands {
    struct tensor src, residual;
    float *weights, *bias;
};

static struct operands operands_of(const struct problem *p, int block)
{
    const struct winograd what = winograd_of(p, block, 1);
    return (struct operands){map_of(p, SRC, block, p->given[SRC]),
                             map_of(p, DST, block, p->given[DST]), weights_of(p, &what),
                             bias_of(p, block)};
}

static void release_operands(const struct operands *operands)
{
    free(operands->src.data);
    free(operands->residual.data);
    free(operands->weights);
    free(operands->bias);
}

/* The output; its caller frees it. */
static struct tensor outputs(const struct winograd *what, const struct operands *operands,
                             const struct tail *tail)
{
    struct tensor dst = operands->residual;
    dst.data = nan_of(tensor_bytes(&dst));
    const void *residual = tail->residual == NO_RESIDUAL ? NULL : operands->residual.data;
    if (tail->residual == RESIDUAL_IN_PLACE)
        residual = memcpy(dst.data, residual, tensor_bytes(&dst));
    run_forward(what, operands->weights, false,
                (struct winograd_forward){.src = operands->src.data,
                                          .bias = tail->bias ? operands->bias : NULL,
                                          .residual = residual,
                                          .relu = tail->relu,
                                          .dst = dst.data});
    return dst;
}

static void try_tail(const struct problem *p, const struct operands *operands,
                     const struct tail *tail, double *wanted, double *slack)
{
    static const char *const residuals[] = {"", ", residual", ", residual in place"};
    char name[64];
    struct tensor first = {0};
    snprintf(name, sizeof(name), "output%s%s%s", tail->bias ? ", bias" : "",
             residuals[tail->residual], tail->relu ? ", relu" : "");
    ask_tail(p, tail, wanted, slack);
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        const struct winograd what = winograd_of(p, operands->src.block, threads);
        struct tensor dst = outputs(&what, operands, tail);
        if (threads > 1) {
            check_equal(&what, name, dst.data, first.data, tensor_bytes(&dst));
            free(dst.data);
        } else {
            check_map(&what, name, &dst, wanted, slack);
            first = dst;
        }
    }
    free(first.data);
}

static void try_tails(const struct problem *p, int block)
{
    const struct operands operands = operands_of(p, block);
    double *wanted = block_of(p->count[DST] * sizeof(*wanted));
    double *slack = block_of(p->count[DST] * sizeof(*slack));
    for (int i = 0; i < TAILS; i++) {
        const struct tail tail = {i % 2, i / 2 % 2, (enum residual)(i / 4)};
        try_tail(p, &operands, &tail, wanted, slack);
    }
    free(wanted);
    free(slack);
    release_operands(&operands);
}

static void outputs_agree_with_the_slow_twin_for_any_number_of_threads(void **state)
{
    for (int i = 0; i < 2 * CASES; i++) {
        struct problem p;
        open_problem(&p, &cases[i / 2], i % 2 ? PRECISION_BF16 : PRECISION_F32);
        ask_twin(&p, DST);
        for (int k = 0; k < BLOCKS; k++)
            if (runs_here(&p, blocks[k]))
                try_tails(&p, blocks[k]);
        close_problem(&p);
    }
}

/* ---- the gradient of the source ---- */

static struct tensor gradients_of_source(const struct problem *p, int block, int threads)
{
    const struct winograd what = winograd_of(p, block, threads);
    struct winograd turned = what;
    turned.ic = what.oc;
    turned.oc = what.ic;
    struct tensor diff = map_of(p, DST, block, p->given[DST]);
    struct tensor made = map_of(p, SRC, block, NULL);
    float *weights = weights_of(p, &what);
    run_forward(&turned, weights, true,
                (struct winograd_forward){.src = diff.data, .dst = made.data});
    free(diff.data);
    free(weights);
    return made;
}

static void gradients_of_the_source_agree_with_the_slow_twin_for_any_number_of_threads(void **state)
{
    for (int i = 0; i < 2 * CASES; i++) {
        struct problem p;
        open_problem(&p, &cases[i / 2], i % 2 ? PRECISION_BF16 : PRECISION_F32);
        ask_twin(&p, SRC);
        for (int k = 0; k < BLOCKS; k++) {
            if (!runs_here(&p, blocks[k]))
                continue;
            struct winograd what = winograd_of(&p, blocks[k], 1);
            struct tensor first = gradients_of_source(&p, blocks[k], 1);
            check_map(&what, "gradient of the source", &first, p.wanted, p.slack);
            for (what.threads = 2; what.threads <= MOST_THREADS; what.threads++) {
                struct tensor made = gradients_of_source(&p, blocks[k], what.threads);
                check_equal(&what, "gradient of the source", made.data, first.data,
                            tensor_bytes(&made));
                free(made.data);
            }
            free(first.data);
        }
        close_problem(&p);
    }
}

/* ---- the gradient of weights ---- */

struct gradients {
    float *weights, *bias;
    size_t weight_bytes, bias_bytes;
};

static struct gradients gradients_of_weights(const struct problem *p, const struct winograd *what,
                                             bool bias)
{
    struct gradients made = {.weight_bytes = weight_count(what) * sizeof(float),
                             .bias_bytes = up(what->oc, what->block) * sizeof(float)};
    struct tensor src = map_of(p, SRC, what->block, p->given[SRC]);
    struct tensor diff = map_of(p, DST, what->block, p->given[DST]);
    float *scratch = nan_of(winograd_backward_scratch(what) * sizeof(*scratch));
    made.weights = nan_of(made.weight_bytes);
    made.bias = nan_of(made.bias_bytes);
    winograd_backward_weights(what,
                              &(struct winograd_backward){.src = src.data,
                                                          .diff_dst = diff.data,
                                                          .diff_weights = made.weights,
                                                          .diff_bias = bias ? made.bias : NULL,
                                                          .scratch = scratch});
    free(src.data);
    free(diff.data);
    free(scratch);
    return made;
}

static void release_gradients(const struct gradients *made)
{
    free(made->weights);
    free(made->bias);
}

static void check_weights(const struct problem *p, const struct winograd *what,
                          const float *weights)
{
    const int block = what->block;
    for (int o = 0; o < (int)up(what->oc, block); o++)
        for (int i = 0; i < (int)up(what->ic, block); i++)
            for (int k = 0; k < 9; k++) {
                const bool inside = o < what->oc && i < what->ic;
                const size_t at = weight_place(what, o, i) + (size_t)(k * block * block);
                const size_t plain = inside ? (size_t)((o * what->ic + i) * 9 + k) : 0;
                check_number(what, "gradient of weights", at, (double)weights[at],
                             inside ? p->wanted[plain] : 0, inside ? p->slack[plain] : 0);
            }
}

static void check_bias(const struct problem *p, const struct winograd *what, const float *bias)
{
    const size_t plane = (size_t)what->h * (size_t)what->w, channels = (size_t)what->oc;
    for (size_t o = 0; o < up(what->oc, what->block); o++) {
        double wanted = 0, magnitude = 0;
        for (size_t n = 0; n < (size_t)what->n && o < channels; n++)
            for (size_t i = 0; i < plane; i++) {
                const double x = p->given[DST][(n * channels + o) * plane + i];
                wanted += x;
                magnitude += fabs(x);
            }
        check_number(what, "gradient of the bias", o, (double)bias[o], wanted,
                     BIAS_ROUNDINGS * U * magnitude);
    }
}

static void try_weights(const struct problem *p, const struct winograd *what)
{
    const struct gradients made = gradients_of_weights(p, what, true);
    const struct gradients again = gradients_of_weights(p, what, true);
    const struct gradients alone = gradients_of_weights(p, what, false);
    check_weights(p, what, made.weights);
    check_bias(p, what, made.bias);
    check_equal(what, "gradient of weights", again.weights, made.weights, made.weight_bytes);
    check_equal(what, "gradient of the bias", again.bias, made.bias, made.bias_bytes);
    check_equal(what, "gradient of weights alone", alone.weights, made.weights, made.weight_bytes);
    release_gradients(&made);
    release_gradients(&again);
    release_gradients(&alone);
}

static void gradients_of_weights_agree_with_the_slow_twin_and_repeat_to_the_bit(void **state)
{
    for (int i = 0; i < 2 * CASES; i++) {
        struct problem p;
        open_problem(&p, &cases[i / 2], i % 2 ? PRECISION_BF16 : PRECISION_F32);
        ask_twin(&p, WEIGHTS);
        for (int k = 0; k < BLOCKS; k++)
            for (int threads = 1; threads <= MOST_THREADS && runs_here(&p, blocks[k]); threads++) {
                const struct winograd what = winograd_of(&p, blocks[k], threads);
                try_weights(&p, &what);
            }
        close_problem(&p);
    }
}

static void gradients_of_many_weights_do_not_depend_on_threads(void **state)
{
    struct problem p;
    open_problem(&p, &(struct sizes){3, 130, 130, 5, 7}, PRECISION_F32);
    for (int k = 0; k < BLOCKS; k++) {
        if (!runs_here(&p, blocks[k]))
            continue;
        struct winograd what = winograd_of(&p, blocks[k], 1);
        const struct gradients first = gradients_of_weights(&p, &what, true);
        for (what.threads = 2; what.threads <= MOST_THREADS; what.threads++) {
            const struct gradients made = gradients_of_weights(&p, &what, true);
            check_equal(&what, "gradient of weights", made.weights, first.weights,
                        made.weight_bytes);
            release_gradients(&made);
        }
        release_gradients(&first);
    }
    close_problem(&p);
}

/* ---- where ---- */

static void it_fits_where_tiles_save_work(void **state)
{
    static const struct {
        int h, w;
        bool fits;
    } maps[] = {{1, 1, false}, {2, 2, false}, {1, 16, false}, {2, 4, true}, {3, 3, true},
                {4, 4, true},  {5, 5, true},  {2, 3, true},   {7, 7, true}, {32, 32, true}};
    struct winograd what = {PRECISION_F32, 1, 16, 16, 8, 8, 8, 1};
    if (!winograd_fits(&what))
        skip(); /* no kernels for this machine */
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        what.h = maps[i].h;
        what.w = maps[i].w;
        if (winograd_fits(&what) != maps[i].fits)
            fail_msg("%dx%d: %s found", what.h, what.w, maps[i].fits ? "does not fit" : "fits");
    }
    for (int i = 0; i < CASES; i++) {
        what.h = cases[i].h;
        what.w = cases[i].w;
        if (!winograd_fits(&what))
            fail_msg("case %d is not run: %dx%d does not fit", i, what.h, what.w);
    }
    what.block = 1;
    assert_false(winograd_fits(&what));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_agree_with_the_slow_twin_for_any_number_of_threads),
        cmocka_unit_test(
            gradients_of_the_source_agree_with_the_slow_twin_for_any_number_of_threads),
        cmocka_unit_test(gradients_of_weights_agree_with_the_slow_twin_and_repeat_to_the_bit),
        cmocka_unit_test(gradients_of_many_weights_do_not_depend_on_threads),
        cmocka_unit_test(it_fits_where_tiles_save_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
