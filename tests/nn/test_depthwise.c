/* test_depthwise.c - the depthwise convolution with its batch norms against a slow twin in double:
 * every instruction-set level of this machine, both blocks, both precisions, both strides, odd
 * maps, with and without a batch norm and a ReLU on either side, in place where the header allows
 * it. Outputs and scratch hold NaN beforehand.
 *
 * Tolerances, with u the rounding of a float (6e-8): a number that is a sum of terms may be off by
 * ROUNDINGS u times the sum of their magnitudes; where it is stored in bf16 also by 2^-8 of itself.
 */
#include "sketch.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "nn/engine/batch_norm_kernel.h"
#include "nn/engine/batch_norm_run.h"
#include "nn/engine/depthwise.h"

static const double U = 6e-8, ROUNDINGS = 16;

struct setup {
    enum cpu_level level;
    enum precision type;
    int block, n, c, h, w, stride;
    bool norm, relu, next, next_relu;
};

/* The numbers of a map, plain, and the map itself. */
struct operand {
    struct tensor map;
    double *plain;
};

struct problem {
    struct setup setup;
    struct depthwise what;
    struct operand x, y, g;
    double *weights, *coefficients[2]; /* (c, COEFFICIENTS) of x and of y */
    float *packed_weights, *packed_coefficients[2];
    double *src, *gradient; /* relu(x a + b); the gradient of y */
};

static const char *describe(const struct setup *s)
{
    static char text[256];
    snprintf(text, sizeof(text), "%s %s block %d, %dx%dx%dx%d, stride %d, %s%s, %s%s",
             cpu_level_name(s->level), s->type == PRECISION_BF16 ? "bf16" : "f32", s->block, s->n,
             s->c, s->h, s->w, s->stride, s->norm ? "norm" : "no norm", s->relu ? " relu" : "",
             s->next ? "norm" : "no norm", s->next_relu ? " relu" : "");
    return text;
}

static void *block_of(size_t bytes)
{
    void *block;
    assert_ok(memory_aligned(bytes, &block));
    memset(block, 0xff, bytes);
    return block;
}

static size_t count_of(const struct tensor *map)
{
    return (size_t)map->n * (size_t)map->c * (size_t)map->h * (size_t)map->w;
}

static double *plain_of(struct tensor map)
{
    float *held = sketch_plain(map);
    double *plain = block_of(count_of(&map) * sizeof(*plain));
    for (size_t i = 0; i < count_of(&map); i++)
        plain[i] = (double)held[i];
    free(held);
    return plain;
}

static struct operand operand_of(struct tensor map, uint64_t seed)
{
    float *numbers = sketch_numbers(count_of(&map), seed);
    struct operand made = {map, NULL};
    made.map.data = block_of(tensor_bytes(&map));
    tensor_from_plain(numbers, &made.map);
    made.plain = plain_of(made.map);
    free(numbers);
    return made;
}

/* Numbers of channels, in the places where kernels read them; `row` of them for a channel, of which
 * the kernel has blocks of `lanes`. */
static double *channels_of(const struct setup *s, int row, int lanes, uint64_t seed, float **packed)
{
    float *numbers = sketch_numbers((size_t)(s->c * row), seed);
    double *plain = block_of((size_t)(s->c * row) * sizeof(*plain));
    const int blocks = (s->c + s->block - 1) / s->block;
    *packed = block_of((size_t)(blocks * row * lanes) * sizeof(float));
    memset(*packed, 0, (size_t)(blocks * row * lanes) * sizeof(float));
    for (int c = 0; c < s->c; c++)
        for (int i = 0; i < row; i++) {
            plain[c * row + i] = (double)numbers[c * row + i];
            for (int lane = c % s->block; lane < lanes; lane += s->block)
                (*packed)[(c / s->block * row + i) * lanes + lane] = numbers[c * row + i];
        }
    free(numbers);
    return plain;
}

static double coefficient(const struct problem *p, int which, int c, int name)
{
    const bool there = which == 0 ? p->setup.norm : p->setup.next;
    return there ? p->coefficients[which][c * COEFFICIENTS + name] : name == A;
}

static int channel_of(const struct tensor *map, size_t place)
{
    return (int)(place / (size_t)(map->h * map->w) % (size_t)map->c);
}

/* What the kernel works on, and what it makes of it, stays below. */
static double *source_of(const struct problem *p)
{
    const size_t count = count_of(&p->x.map);
    double *src = block_of(count * sizeof(*src));
    for (size_t i = 0; i < count; i++) {
        const int c = channel_of(&p->x.map, i);
        src[i] = p->x.plain[i] * coefficient(p, 0, c, A) + coefficient(p, 0, c, B);
        if (p->setup.relu && src[i] < 0)
            src[i] = 0;
    }
    return src;
}

static double *gradient_of(const struct problem *p)
{
    const size_t count = count_of(&p->y.map);
    double *made = block_of(count * sizeof(*made));
    for (size_t i = 0; i < count; i++) {
        const int c = channel_of(&p->y.map, i);
        const double y = p->y.plain[i];
        const bool kept =
            !p->setup.next_relu || y * coefficient(p, 1, c, A) + coefficient(p, 1, c, B) > 0;
        made[i] = !p->setup.next ? p->g.plain[i]
                                 : (kept ? p->g.plain[i] * coefficient(p, 1, c, P) : 0) +
                                       y * coefficient(p, 1, c, Q) + coefficient(p, 1, c, R);
    }
    return made;
}

static void open_problem(struct problem *p, const struct setup *s)
{
    *p = (struct problem){.setup = *s};
    cpu_limit(s->level);
    const struct tensor src = {s->type, s->n, s->c, s->h, s->w, s->block, NULL};
    p->what = (struct depthwise){src, depthwise_result(&src, s->stride), s->stride, 2};
    p->x = operand_of(src, 1);
    p->y = operand_of(p->what.dst, 2);
    p->g = operand_of(p->what.dst, 3);
    p->weights = channels_of(s, 9, s->block, 4, &p->packed_weights);
    for (int i = 0; i < 2; i++)
        p->coefficients[i] =
            channels_of(s, COEFFICIENTS, LANES, 5 + (uint64_t)i * 1000, &p->packed_coefficients[i]);
    p->src = source_of(p);
    p->gradient = gradient_of(p);
}

static void close_problem(struct problem *p)
{
    void *const blocks[] = {p->x.map.data,
                            p->x.plain,
                            p->y.map.data,
                            p->y.plain,
                            p->g.map.data,
                            p->g.plain,
                            p->weights,
                            p->packed_weights,
                            p->coefficients[0],
                            p->coefficients[1],
                            p->packed_coefficients[0],
                            p->packed_coefficients[1],
                            p->src,
                            p->gradient};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
        free(blocks[i]);
}

/* ---- comparing ---- */

static void check_number(const struct problem *p, const char *name, size_t place, double found,
                         double wanted, double terms, bool stored)
{
    const double tolerance =
        ROUNDINGS * U * terms +
        (stored && p->setup.type == PRECISION_BF16 ? fabs(wanted) / 256 + 1e-38 : 0);
    if (!(fabs(found - wanted) <= tolerance))
        fail_msg("%s: %s[%zu]: %.9g found, %.9g wanted, within %.3g", describe(&p->setup), name,
                 place, found, wanted, tolerance);
}

static void check_padding(const struct problem *p, const char *name, struct tensor map)
{
    float *plain = sketch_plain(map);
    struct tensor again = map;
    again.data = block_of(tensor_bytes(&map));
    tensor_from_plain(plain, &again);
    if (memcmp(again.data, map.data, tensor_bytes(&map)))
        fail_msg("%s: %s: the padding is not zero", describe(&p->setup), name);
    free(again.data);
    free(plain);
}

/* ---- the slow twin ---- */

/* Calls `each` for every product: place in the result, place in the source, place of the weight. */
typedef void product_visitor(void *context, size_t dst, size_t src, size_t weight);
static void each_product(const struct problem *p, product_visitor *each, void *context)
{
    const struct tensor *s = &p->what.src, *d = &p->what.dst;
    size_t at = 0;
    for (int map = 0; map < d->n * d->c; map++)
        for (int y = 0; y < d->h; y++)
            for (int x = 0; x < d->w; x++, at++)
                for (int k = 0; k < 9; k++) {
                    const int row = y * p->what.stride + k / 3 - 1;
                    const int column = x * p->what.stride + k % 3 - 1;
                    if (row >= 0 && row < s->h && column >= 0 && column < s->w)
                        each(context, at, (size_t)((map * s->h + row) * s->w + column),
                             (size_t)(map % d->c * 9 + k));
                }
}

struct sums_of_products {
    const struct problem *p;
    double *y, *diff_src, *diff_weights; /* sums */
    double *y_terms, *diff_src_terms, *diff_weights_terms;
};

static void add_product(void *context, size_t dst, size_t src, size_t weight)
{
    struct sums_of_products *s = context;
    const double w = s->p->weights[weight], x = s->p->src[src], g = s->p->gradient[dst];
    const int c = channel_of(&s->p->what.dst, dst);
    /* what g was made of, for its own rounding */
    const double made = fabs(s->p->g.plain[dst]) * (fabs(coefficient(s->p, 1, c, P)) + 1) +
                        fabs(s->p->y.plain[dst] * coefficient(s->p, 1, c, Q)) +
                        fabs(coefficient(s->p, 1, c, R));
    const double from =
        fabs(s->p->x.plain[src] * coefficient(s->p, 0, c, A)) + fabs(coefficient(s->p, 0, c, B));
    s->y[dst] += w * x;
    s->y_terms[dst] += fabs(w) * from;
    s->diff_src[src] += w * g;
    s->diff_src_terms[src] += fabs(w) * made;
    s->diff_weights[weight] += x * g;
    s->diff_weights_terms[weight] += from * made;
}

static double *zeros_of(size_t count)
{
    double *made = block_of(count * sizeof(*made));
    memset(made, 0, count * sizeof(*made));
    return made;
}

static struct sums_of_products twin_of(const struct problem *p)
{
    const size_t src = count_of(&p->what.src), dst = count_of(&p->what.dst);
    const size_t weights = (size_t)p->setup.c * 9;
    struct sums_of_products s = {p,
                                 zeros_of(dst),
                                 zeros_of(src),
                                 zeros_of(weights),
                                 zeros_of(dst),
                                 zeros_of(src),
                                 zeros_of(weights)};
    each_product(p, add_product, &s);
    return s;
}

static void twin_release(struct sums_of_products *s)
{
    free(s->y);
    free(s->diff_src);
    free(s->diff_weights);
    free(s->y_terms);
    free(s->diff_src_terms);
    free(s->diff_weights_terms);
}

/* ---- sums for batch norms ---- */

/* Of an image's map of a channel: what all lanes of it hold of sum number `which`. */
static double lanes_sum(const struct problem *p, const struct tensor *map, float *sums, int image,
                        int c, int which)
{
    const float *at = batch_norm_sums(map, sums, image, c / map->block) + which * LANES;
    double sum = 0;
    for (int lane = c % map->block; lane < LANES; lane += map->block)
        sum += (double)at[lane];
    return sum;
}

static void check_forward_sums(const struct problem *p, const struct sums_of_products *twin,
                               float *sums)
{
    const struct tensor *map = &p->what.dst;
    const size_t hw = (size_t)(map->h * map->w);
    for (int image = 0; image < map->n; image++)
        for (int c = 0; c < map->c; c++) {
            const size_t from = (size_t)(image * map->c + c) * hw;
            const float *run = batch_norm_sums(map, sums, image, c / map->block);
            const double first = (double)run[SUMS + c % map->block];
            double sum = 0, squares = 0, terms = 0, square_terms = 0;
            check_number(p, "first", from, first, twin->y[from], twin->y_terms[from], true);
            for (size_t i = from; i < from + hw; i++) {
                const double d = twin->y[i] - first, size = twin->y_terms[i] + fabs(first);
                sum += d;
                squares += d * d;
                terms += size;
                square_terms += size * size;
            }
            check_number(p, "sum", from, lanes_sum(p, map, sums, image, c, 0), sum, terms, false);
            check_number(p, "squares", from, lanes_sum(p, map, sums, image, c, 1), squares,
                         2 * square_terms, false);
        }
}

static void check_backward_sums(const struct problem *p, const struct sums_of_products *twin,
                                float *sums)
{
    const struct tensor *map = &p->what.src;
    const size_t hw = (size_t)(map->h * map->w);
    for (int image = 0; image < map->n; image++)
        for (int c = 0; c < map->c; c++) {
            const size_t from = (size_t)(image * map->c + c) * hw;
            const double mean = coefficient(p, 0, c, MEAN);
            double sum = 0, products = 0, terms = 0, product_terms = 0;
            for (size_t i = from; i < from + hw; i++) {
                const double g = p->setup.relu && !(p->src[i] > 0) ? 0 : twin->diff_src[i];
                sum += g;
                products += g * (p->x.plain[i] - mean);
                terms += twin->diff_src_terms[i];
                product_terms += twin->diff_src_terms[i] * (fabs(p->x.plain[i]) + fabs(mean));
            }
            check_number(p, "backward sum", from, lanes_sum(p, map, sums, image, c, 0), sum, terms,
                         false);
            check_number(p, "backward products", from, lanes_sum(p, map, sums, image, c, 1),
                         products, product_terms, false);
        }
}

static float *sums_buffer(const struct tensor *map)
{
    const struct batch_norm_shape shape = {.map = *map, .threads = 2};
    return block_of(batch_norm_scratch(&shape) * sizeof(float));
}

/* ---- the passes ---- */

static struct depthwise_norm norm_of(const struct problem *p, int which)
{
    const bool there = which == 0 ? p->setup.norm : p->setup.next;
    return (struct depthwise_norm){there ? p->packed_coefficients[which] : NULL,
                                   which == 0 ? p->setup.relu : p->setup.next_relu};
}

static void check_forward(const struct problem *p, const struct sums_of_products *twin)
{
    struct tensor y = p->what.dst;
    float *scratch = block_of(depthwise_scratch(&p->what) * sizeof(float));
    float *sums = p->setup.next ? sums_buffer(&y) : NULL;
    y.data = block_of(tensor_bytes(&y));
    depthwise_forward(&p->what, &(struct depthwise_forward){.x = p->x.map.data,
                                                            .norm = norm_of(p, 0),
                                                            .weights = p->packed_weights,
                                                            .y = y.data,
                                                            .sums = sums,
                                                            .scratch = scratch});
    double *found = plain_of(y);
    for (size_t i = 0; i < count_of(&y); i++)
        check_number(p, "y", i, found[i], twin->y[i], twin->y_terms[i], true);
    if (sums)
        check_forward_sums(p, twin, sums);
    /* The padding: relu(0 a + b) of padded channels is 0 with their coefficients, which are 0. */
    check_padding(p, "y", y);
    free(found);
    free(sums);
    free(y.data);
    free(scratch);
}

static void check_diff_weights(const struct problem *p, const struct sums_of_products *twin,
                               const float *found)
{
    const int block = p->setup.block;
    for (int c = 0; c < p->setup.c; c++)
        for (int k = 0; k < 9; k++) {
            const size_t at = (size_t)(c * 9 + k);
            check_number(p, "diff_weights", at,
                         (double)found[(c / block * 9 + k) * block + c % block],
                         twin->diff_weights[at], twin->diff_weights_terms[at], false);
        }
}

static void check_backward(const struct problem *p, const struct sums_of_products *twin,
                           bool in_place)
{
    struct tensor diff = p->what.src;
    const size_t blocks = (size_t)((p->setup.c + p->setup.block - 1) / p->setup.block);
    float *scratch = block_of(depthwise_scratch(&p->what) * sizeof(float));
    float *sums = p->setup.norm ? sums_buffer(&diff) : NULL;
    float *diff_weights = block_of(blocks * 9 * (size_t)p->setup.block * sizeof(float));
    diff.data = block_of(tensor_bytes(&diff));
    if (in_place)
        memcpy(diff.data, p->g.map.data, tensor_bytes(&diff));
    depthwise_backward(&p->what,
                       &(struct depthwise_backward){.x = p->x.map.data,
                                                    .norm = norm_of(p, 0),
                                                    .g = in_place ? diff.data : p->g.map.data,
                                                    .y = p->y.map.data,
                                                    .next = norm_of(p, 1),
                                                    .weights = p->packed_weights,
                                                    .diff_src = diff.data,
                                                    .diff_weights = diff_weights,
                                                    .sums = sums,
                                                    .scratch = scratch});
    double *found = plain_of(diff);
    for (size_t i = 0; i < count_of(&diff); i++) {
        const bool cut = p->setup.relu && !(p->src[i] > 0);
        check_number(p, "diff_src", i, found[i], cut ? 0 : twin->diff_src[i],
                     twin->diff_src_terms[i], true);
    }
    check_padding(p, "diff_src", diff);
    check_diff_weights(p, twin, diff_weights);
    if (sums)
        check_backward_sums(p, twin, sums);
    free(found);
    free(diff_weights);
    free(sums);
    free(diff.data);
    free(scratch);
}

/* ---- the tests ---- */

static const struct {
    int n, c, h, w;
} sizes[] = {{1, 3, 1, 1}, {3, 17, 3, 5}, {2, 33, 7, 6}, {1, 16, 2, 9}, {40, 8, 4, 4}};

static void each_setup(void (*check)(const struct problem *p))
{
    const int best = (int)cpu_level();
    for (int which = 0; which < (best + 1) * 2 * 2 * 2 * 6; which++) {
        const int norms = which % 6, rest = which / 6;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            const struct setup setup = {.level = (enum cpu_level)(rest / 8),
                                        .type = rest & 1 ? PRECISION_BF16 : PRECISION_F32,
                                        .block = rest & 2 ? 8 : 16,
                                        .stride = rest & 4 ? 2 : 1,
                                        .n = sizes[i].n,
                                        .c = sizes[i].c,
                                        .h = sizes[i].h,
                                        .w = sizes[i].w,
                                        .norm = norms > 0,
                                        .relu = norms == 2 || norms > 3,
                                        .next = norms > 1,
                                        .next_relu = norms > 2 && norms < 5};
            struct problem p;
            open_problem(&p, &setup);
            check(&p);
            close_problem(&p);
        }
    }
    cpu_limit((enum cpu_level)best);
}

static void check_forward_of(const struct problem *p)
{
    struct sums_of_products twin = twin_of(p);
    check_forward(p, &twin);
    twin_release(&twin);
}

static void check_backward_of(const struct problem *p)
{
    struct sums_of_products twin = twin_of(p);
    check_backward(p, &twin, false);
    if (p->setup.stride == 1)
        check_backward(p, &twin, true);
    twin_release(&twin);
}

static void forward_agrees_with_the_slow_twin(void **state)
{
    each_setup(check_forward_of);
}

static void backward_agrees_with_the_slow_twin(void **state)
{
    each_setup(check_backward_of);
}

/* All that a backward pass makes, with this number of threads. */
static float *run_with_threads(struct problem *p, int threads, size_t *count)
{
    p->what.threads = threads;
    struct tensor *map = &p->what.src;
    const size_t weights = (size_t)(tensor_channels(map) * 9), numbers = tensor_count(map);
    float *made = block_of((weights + numbers) * sizeof(float));
    float *scratch = block_of(depthwise_scratch(&p->what) * sizeof(float));
    float *sums = sums_buffer(map);
    depthwise_backward(&p->what, &(struct depthwise_backward){.x = p->x.map.data,
                                                              .norm = norm_of(p, 0),
                                                              .g = p->g.map.data,
                                                              .y = p->y.map.data,
                                                              .next = norm_of(p, 1),
                                                              .weights = p->packed_weights,
                                                              .diff_src = made,
                                                              .diff_weights = made + numbers,
                                                              .sums = sums,
                                                              .scratch = scratch});
    free(scratch);
    free(sums);
    *count = weights + numbers;
    return made;
}

static void results_do_not_depend_on_the_number_of_threads(void **state)
{
    const struct setup setup = {.level = cpu_level(),
                                .block = 16,
                                .n = 37,
                                .c = 17,
                                .h = 5,
                                .w = 4,
                                .stride = 1,
                                .norm = true,
                                .relu = true,
                                .next = true,
                                .next_relu = true};
    struct problem p;
    size_t count;
    open_problem(&p, &setup);
    float *one = run_with_threads(&p, 1, &count);
    for (int threads = 2; threads <= 5; threads++) {
        float *several = run_with_threads(&p, threads, &count);
        if (memcmp(one, several, count * sizeof(float)))
            fail_msg("%d threads give something else than one", threads);
        free(several);
    }
    free(one);
    close_problem(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_agrees_with_the_slow_twin),
        cmocka_unit_test(backward_agrees_with_the_slow_twin),
        cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
