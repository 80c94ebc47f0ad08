/* test_elementwise.c - sums, ReLU and its gradient, dropout and the option-A shortcut as passes
 * over maps: every instruction-set level of this machine, both blocks and plain, both precisions,
 * odd maps, in place where the header allows it. Outputs hold NaN beforehand.
 *
 * Tolerance: sums of up to four floats may be off by 4 roundings of the magnitudes summed; bf16
 * results by half a step, 2^-8 of themselves at most, more. Everything else is exact. */
#include "sketch.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "nn/engine/elementwise.h"

/* Threads share work in pieces of 8192 numbers: the last map has several, the last one incomplete.
 */
static const struct {
    int n, c, h, w;
} sizes[] = {{1, 3, 1, 1}, {3, 5, 1, 1}, {2, 17, 3, 5}, {1, 33, 7, 7}, {3, 40, 13, 17}};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static const int blocks[] = {1, 8, 16};
enum { BLOCKS = sizeof(blocks) / sizeof(blocks[0]) };

static struct tensor new_map(enum precision type, int n, int c, int h, int w, int block)
{
    struct tensor map = {type, n, c, h, w, block, NULL};
    assert_ok(memory_aligned(tensor_bytes(&map), &map.data));
    memset(map.data, 0xff, tensor_bytes(&map)); /* NaN */
    return map;
}

/* Random numbers into it; some are exactly 0. */
static void fill(struct tensor map, uint64_t seed)
{
    const size_t count = (size_t)map.n * (size_t)map.c * (size_t)map.h * (size_t)map.w;
    float *numbers = sketch_numbers(count, seed);
    for (size_t i = 0; i < count; i += 7)
        numbers[i] = 0;
    tensor_from_plain(numbers, &map);
    free(numbers);
}

static double number(const struct tensor *map, size_t place)
{
    return map->type == PRECISION_BF16 ? (double)bf16_to_float(((const uint16_t *)map->data)[place])
                                       : (double)((const float *)map->data)[place];
}

static const char *describe(const struct tensor *map)
{
    static char text[128];
    snprintf(text, sizeof(text), "%s %s block %d, %dx%dx%dx%d", cpu_level_name(cpu_level()),
             map->type == PRECISION_BF16 ? "bf16" : "f32", map->block, map->n, map->c, map->h,
             map->w);
    return text;
}

/* ---- sums ---- */

struct sum {
    struct tensor sources[VALUE_DIFFS], gate, out;
    struct elementwise what;
    bool gated;
    int in_place; /* out is this source; -1: none */
};

static void open_sum(struct sum *sum, struct tensor like, int source_count, bool relu, bool gated,
                     int in_place)
{
    *sum = (struct sum){.what = {like, source_count, relu}, .gated = gated, .in_place = in_place};
    for (int i = 0; i < VALUE_DIFFS; i++) {
        sum->sources[i] = new_map(like.type, like.n, like.c, like.h, like.w, like.block);
        fill(sum->sources[i], (uint64_t)i);
    }
    sum->gate = new_map(like.type, like.n, like.c, like.h, like.w, like.block);
    fill(sum->gate, 9);
    sum->out = new_map(like.type, like.n, like.c, like.h, like.w, like.block);
}

static void close_sum(struct sum *sum)
{
    for (int i = 0; i < VALUE_DIFFS; i++)
        free(sum->sources[i].data);
    free(sum->gate.data);
    free(sum->out.data);
}

static void run_sum(const struct sum *sum, void *out)
{
    const void *sources[VALUE_DIFFS];
    for (int i = 0; i < sum->what.source_count; i++)
        sources[i] = sum->sources[i].data;
    elementwise_run(&sum->what, sources, sum->gated ? sum->gate.data : NULL, out);
}

static void check_sum(const struct sum *sum, const double *wanted, const double *magnitude,
                      const struct tensor *found)
{
    const double storing = found->type == PRECISION_BF16 ? 1.0 / 256 : 0;
    for (size_t i = 0; i < tensor_count(found); i++)
        if (!(fabs(number(found, i) - wanted[i]) <=
              4 * 6e-8 * magnitude[i] + storing * fabs(wanted[i])))
            fail_msg("%s, %d sources%s%s, in place %d: [%zu]: %.9g found, %.9g wanted",
                     describe(found), sum->what.source_count, sum->what.relu ? ", relu" : "",
                     sum->gated ? ", gate" : "", sum->in_place, i, number(found, i), wanted[i]);
}

static void try_sum(struct tensor like, int source_count, bool relu, bool gated, int in_place)
{
    struct sum sum;
    open_sum(&sum, like, source_count, relu, gated, in_place);
    const size_t count = tensor_count(&like);
    double *wanted = malloc(count * sizeof(*wanted)), *magnitude = malloc(count * sizeof(*wanted));
    assert_true(wanted && magnitude);
    for (size_t i = 0; i < count; i++) {
        wanted[i] = magnitude[i] = 0;
        for (int k = 0; k < source_count; k++) {
            wanted[i] += number(&sum.sources[k], i);
            magnitude[i] += fabs(number(&sum.sources[k], i));
        }
        if ((relu && wanted[i] < 0) || (gated && !(number(&sum.gate, i) > 0)))
            wanted[i] = 0;
    }
    const struct tensor *out = in_place < 0 ? &sum.out : &sum.sources[in_place];
    run_sum(&sum, out->data);
    check_sum(&sum, wanted, magnitude, out);
    free(wanted);
    free(magnitude);
    close_sum(&sum);
}

static void sums_are_cut_by_relu_and_gate(void **state)
{
    const int best = (int)cpu_level();
    for (int level = 0; level <= best; level++) {
        cpu_limit((enum cpu_level)level);
        for (int i = 0; i < SIZES * BLOCKS * 2; i++) {
            const int size = i % SIZES, block = i / SIZES % BLOCKS, type = i / SIZES / BLOCKS;
            const struct tensor like = {
                (enum precision)type, sizes[size].n, sizes[size].c, sizes[size].h,
                sizes[size].w,        blocks[block], NULL};
            for (int count = 1; count <= VALUE_DIFFS; count++)
                for (int in_place = -1; in_place < count; in_place++) {
                    try_sum(like, count, false, false, in_place);
                    try_sum(like, count, true, false, in_place);
                    try_sum(like, count, false, true, in_place);
                }
        }
    }
}

static void sums_do_not_depend_on_threads_or_level(void **state)
{
    const int best = (int)cpu_level(), before = omp_get_max_threads();
    for (int type = PRECISION_F32; type <= PRECISION_BF16; type++) {
        const struct tensor like = {(enum precision)type, 3, 40, 13, 17, 8, NULL};
        struct tensor first = new_map(like.type, 3, 40, 13, 17, 8);
        struct sum sum;
        open_sum(&sum, like, 3, false, true, -1);
        run_sum(&sum, first.data);
        for (int level = 0; level <= best; level++)
            for (int threads = 1; threads <= 3; threads++) {
                cpu_limit((enum cpu_level)level);
                omp_set_num_threads(threads);
                memset(sum.out.data, 0xff, tensor_bytes(&like));
                run_sum(&sum, sum.out.data);
                assert_memory_equal(sum.out.data, first.data, tensor_bytes(&like));
            }
        omp_set_num_threads(before);
        cpu_limit((enum cpu_level)best);
        free(first.data);
        close_sum(&sum);
    }
}

/* ---- dropout ---- */

enum { DROPPED_CHANNELS = 48, SIDE = 41 };

static struct dropout dropout_of(struct tensor map, double rate, const uint32_t *step)
{
    return (struct dropout){.map = map, .rate = rate, .seed = 3, .layer = 5, .step = step};
}

/* Dropout of a map of ones, which are then 0 or 1 / (1 - rate). */
static struct tensor drop_ones(struct dropout what)
{
    struct tensor out =
        new_map(what.map.type, what.map.n, what.map.c, what.map.h, what.map.w, what.map.block);
    const size_t count = tensor_count(&out);
    float *ones = malloc(count * sizeof(*ones));
    assert_non_null(ones);
    for (size_t i = 0; i < count; i++)
        ones[i] = 1;
    tensor_from_plain(ones, &out);
    dropout_run(&what, out.data, out.data);
    free(ones);
    return out;
}

/* Within five standard deviations of what chance gives; then the mean is kept as well. */
static void dropout_drops_at_its_rate_and_scales_the_rest(void **state)
{
    static const double rates[] = {0, 0.1, 0.5, 0.9, 0.99};
    const uint32_t step = 1;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        const struct tensor like = {PRECISION_F32, 2, DROPPED_CHANNELS, SIDE, SIDE, 16, NULL};
        const struct tensor out = drop_ones(dropout_of(like, rates[i], &step));
        const double count = (double)tensor_count(&out), rate = rates[i];
        double dropped = 0;
        for (size_t k = 0; k < tensor_count(&out); k++) {
            const double x = number(&out, k);
            if (x != 0 && fabs(x - 1 / (1 - rate)) > 1e-6 / (1 - rate))
                fail_msg("rate %g: %g found", rate, x);
            dropped += x == 0;
        }
        if (fabs(dropped / count - rate) > 5 * sqrt(rate * (1 - rate) / count))
            fail_msg("rate %g: %g found", rate, dropped / count);
        free(out.data);
    }
}

/* In runs along the map as well: no lane of a vector is favoured. */
static void dropout_treats_all_lanes_alike(void **state)
{
    const uint32_t step = 1;
    const struct tensor like = {PRECISION_F32, 2, DROPPED_CHANNELS, SIDE, SIDE, 16, NULL};
    const struct tensor out = drop_ones(dropout_of(like, 0.5, &step));
    double dropped[16] = {0}, together = 0;
    const size_t count = tensor_count(&out);
    for (size_t i = 0; i < count; i++) {
        dropped[i % 16] += number(&out, i) == 0;
        together += i > 0 && number(&out, i) == 0 && number(&out, i - 1) == 0;
    }
    for (int lane = 0; lane < 16; lane++)
        assert_true(fabs(dropped[lane] / ((double)count / 16) - 0.5) <
                    5 * 0.5 / sqrt((double)count / 16));
    assert_true(fabs(together / (double)count - 0.25) < 0.01);
    free(out.data);
}

static void a_mask_belongs_to_seed_step_and_layer(void **state)
{
    const struct tensor like = {PRECISION_F32, 2, DROPPED_CHANNELS, SIDE, SIDE, 16, NULL};
    const uint32_t steps[] = {1, 1, 2, 1, 1};
    struct tensor masks[5];
    for (int i = 0; i < 5; i++) {
        struct dropout what = dropout_of(like, 0.5, &steps[i]);
        what.seed += i == 3;
        what.layer += i == 4;
        masks[i] = drop_ones(what);
    }
    assert_memory_equal(masks[0].data, masks[1].data, tensor_bytes(&masks[0]));
    for (int i = 2; i < 5; i++) {
        size_t same = 0, count = tensor_count(&masks[0]);
        for (size_t k = 0; k < count; k++)
            same += (number(&masks[0], k) == 0) == (number(&masks[i], k) == 0);
        assert_true(fabs((double)same / (double)count - 0.5) < 0.01);
    }
    for (int i = 0; i < 5; i++)
        free(masks[i].data);
}

static void dropout_works_in_place_and_with_any_number_of_threads(void **state)
{
    const int before = omp_get_max_threads();
    const uint32_t step = 1;
    for (int i = 0; i < SIZES * BLOCKS * 2; i++) {
        const int size = i % SIZES, block = i / SIZES % BLOCKS, type = i / SIZES / BLOCKS;
        struct tensor x = new_map((enum precision)type, sizes[size].n, sizes[size].c, sizes[size].h,
                                  sizes[size].w, blocks[block]);
        struct tensor y = new_map(x.type, x.n, x.c, x.h, x.w, x.block);
        const struct dropout what = dropout_of(x, 0.3, &step);
        fill(x, 1);
        dropout_run(&what, x.data, y.data);
        for (size_t k = 0; k < tensor_count(&x); k++)
            assert_true(number(&y, k) == 0 ||
                        fabs(number(&y, k) - number(&x, k) / 0.7) <= fabs(number(&x, k)) / 128);
        for (int threads = 1; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            fill(x, 1);
            dropout_run(&what, x.data, x.data);
            assert_memory_equal(x.data, y.data, tensor_bytes(&x));
        }
        omp_set_num_threads(before);
        free(x.data);
        free(y.data);
    }
}

/* ---- option-A shortcut ---- */

static const struct {
    int c, h, w, channels, stride;
} shortcuts[] = {
    {16, 8, 8, 32, 2}, {5, 7, 9, 9, 2}, {17, 5, 5, 33, 2}, {3, 4, 5, 3, 1},
    {8, 1, 1, 40, 1},  {9, 7, 5, 9, 3}, {30, 3, 3, 34, 2},
};

static size_t place(struct shape s, int n, int c, int h, int w)
{
    return (((size_t)n * (size_t)s.c + (size_t)c) * (size_t)s.h + (size_t)h) * (size_t)s.w +
           (size_t)w;
}

/* Plain twin, either way. */
static void copy_shortcut(struct shape in, struct shape out, int n, int stride, float *src,
                          float *dst, bool backward)
{
    const int before = (out.c - in.c) / 2;
    for (int image = 0; image < n; image++)
        for (int c = 0; c < in.c; c++)
            for (int h = 0; h < out.h; h++)
                for (int w = 0; w < out.w; w++) {
                    float *s = &src[place(in, image, c, h * stride, w * stride)];
                    float *d = &dst[place(out, image, c + before, h, w)];
                    *(backward ? s : d) = *(backward ? d : s);
                }
}

/* Compared with padding, as they lie in memory. */
static void check_map(const char *name, const struct tensor *found, const float *wanted)
{
    struct tensor map = new_map(found->type, found->n, found->c, found->h, found->w, found->block);
    tensor_from_plain(wanted, &map);
    if (memcmp(map.data, found->data, tensor_bytes(&map)))
        fail_msg("%s: %s differs", describe(found), name);
    free(map.data);
}

static void try_shortcut(size_t which, enum precision type, int block, int threads)
{
    const struct shape in = {shortcuts[which].c, shortcuts[which].h, shortcuts[which].w};
    const int stride = shortcuts[which].stride, n = 3;
    const struct shape out = {shortcuts[which].channels, (in.h + stride - 1) / stride,
                              (in.w + stride - 1) / stride};
    struct tensor src = new_map(type, n, in.c, in.h, in.w, block);
    struct tensor dst = new_map(type, n, out.c, out.h, out.w, block);
    const struct shortcut what = {src, dst, stride};
    omp_set_num_threads(threads);
    fill(src, 1);
    float *plain = sketch_plain(src);
    float *wanted = calloc(place(out, n, 0, 0, 0), sizeof(*wanted));
    assert_non_null(wanted);
    copy_shortcut(in, out, n, stride, plain, wanted, false);
    shortcut_forward(&what, src.data, dst.data);
    check_map("shortcut", &dst, wanted);
    free(wanted);

    fill(dst, 2);
    memset(src.data, 0xff, tensor_bytes(&src));
    float *diff = sketch_plain(dst);
    memset(plain, 0, place(in, n, 0, 0, 0) * sizeof(*plain));
    copy_shortcut(in, out, n, stride, plain, diff, true);
    shortcut_backward(&what, dst.data, src.data);
    check_map("shortcut backward", &src, plain);
    free(diff);
    free(plain);
    free(src.data);
    free(dst.data);
}

static void shortcuts_move_numbers_and_zero_the_rest(void **state)
{
    const int before = omp_get_max_threads();
    for (size_t i = 0; i < sizeof(shortcuts) / sizeof(shortcuts[0]); i++)
        for (int type = PRECISION_F32; type <= PRECISION_BF16; type++)
            for (int block = 8; block <= 16; block += 8)
                for (int threads = 1; threads <= 3; threads++)
                    try_shortcut(i, (enum precision)type, block, threads);
    omp_set_num_threads(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_cut_by_relu_and_gate),
        cmocka_unit_test(sums_do_not_depend_on_threads_or_level),
        cmocka_unit_test(dropout_drops_at_its_rate_and_scales_the_rest),
        cmocka_unit_test(dropout_treats_all_lanes_alike),
        cmocka_unit_test(a_mask_belongs_to_seed_step_and_layer),
        cmocka_unit_test(dropout_works_in_place_and_with_any_number_of_threads),
        cmocka_unit_test(shortcuts_move_numbers_and_zero_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
