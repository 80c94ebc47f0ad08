/* test_batch_norm_kernel.c - batch norm's kernel against the slow twin (reference.h): every
 * instruction-set level of this machine, both blocks, both precisions, odd maps, every in-place
 * form that the header allows. Outputs hold NaN beforehand.
 *
 * Tolerances, with u the rounding of a float (6e-8): a result that is a sum of terms may be off by
 * ROUNDINGS u times the sum of their magnitudes; bf16 results also by 2^-8 of themselves, and what
 * is computed from a stored bf16 number by 2^-8 of that. */
#include "reference.h"
#include "sketch.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "nn/engine/batch_norm_kernel.h"

static const double U = 6e-8;

/* ---- problems ---- */

enum residual { NO_RESIDUAL, RESIDUAL, RESIDUAL_IN_PLACE, RESIDUALS };

struct setup {
    enum cpu_level level;
    enum precision type;
    int block, n, c, h, w;
    bool relu;
    enum residual residual;
    double mean, deviation; /* of x, roughly */
};

struct problem {
    struct setup setup;
    struct batch_norm_shape shape;
    struct tensor x, residual, y, diffs[BATCH_NORM_DIFFS], g, dx;
    float *scale, *shift, *running_mean, *running_var, *mean, *inverse, *diff_scale, *diff_shift,
        *coefficients, *scratch;
    size_t count; /* numbers of a plain map */
    double *plain_x, *plain_residual, *plain_y, *plain_g, *plain_dx;
    struct reference_norm norm; /* of plain_x; its vectors */
};

static const char *describe(const struct setup *s)
{
    static char text[256];
    snprintf(text, sizeof(text), "%s %s block %d, %dx%dx%dx%d, mean %g, %s, residual %d",
             cpu_level_name(s->level), s->type == PRECISION_BF16 ? "bf16" : "f32", s->block, s->n,
             s->c, s->h, s->w, s->mean, s->relu ? "relu" : "no relu", (int)s->residual);
    return text;
}

static void *block_of(size_t bytes)
{
    void *block;
    assert_ok(memory_aligned(bytes, &block));
    return block;
}

/* A map full of NaN. */
static struct tensor empty_map(const struct setup *s)
{
    struct tensor map = {s->type, s->n, s->c, s->h, s->w, s->block, NULL};
    map.data = block_of(tensor_bytes(&map));
    memset(map.data, 0xff, tensor_bytes(&map));
    return map;
}

static void clear(struct tensor map)
{
    memset(map.data, 0xff, tensor_bytes(&map));
}

/* Normal numbers into a map, and what the map then holds. */
static double *fill_map(struct tensor map, double mean, double deviation, uint64_t seed)
{
    const size_t count = (size_t)map.n * (size_t)map.c * (size_t)map.h * (size_t)map.w;
    float *numbers = sketch_numbers(count, seed);
    double *held = block_of(count * sizeof(*held));
    for (size_t i = 0; i < count; i++)
        numbers[i] = (float)(mean + deviation * (double)numbers[i]);
    tensor_from_plain(numbers, &map);
    tensor_to_plain(&map, numbers);
    for (size_t i = 0; i < count; i++)
        held[i] = (double)numbers[i];
    free(numbers);
    return held;
}

/* c numbers and zeros up to the block; nan: all NaN. */
static float *vector_of_channels(const struct setup *s, uint64_t seed, double mean, bool nan)
{
    const size_t room = (size_t)(s->c + s->block - 1) / (size_t)s->block * (size_t)s->block;
    float *made = block_of(room * sizeof(*made)), *numbers = sketch_numbers((size_t)s->c, seed);
    for (size_t i = 0; i < room; i++)
        made[i] = nan ? NAN : i < (size_t)s->c ? (float)(mean + 0.3 * (double)numbers[i]) : 0;
    free(numbers);
    return made;
}

static double *widened(const float *numbers, int count)
{
    double *made = block_of((size_t)count * sizeof(*made));
    for (int i = 0; i < count; i++)
        made[i] = (double)numbers[i];
    return made;
}

static void open_problem(struct problem *p, const struct setup *s)
{
    *p = (struct problem){.setup = *s,
                          .count = (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w};
    cpu_limit(s->level);
    p->x = empty_map(s);
    p->y = empty_map(s);
    p->g = empty_map(s);
    p->dx = empty_map(s);
    p->residual = empty_map(s);
    for (int i = 0; i < BATCH_NORM_DIFFS; i++)
        p->diffs[i] = empty_map(s);
    p->shape = (struct batch_norm_shape){.map = p->x,
                                         .epsilon = 1e-5f,
                                         .momentum = 0.1f,
                                         .relu = s->relu,
                                         .threads = omp_get_max_threads(),
                                         .residual = s->residual != NO_RESIDUAL};
    p->scale = vector_of_channels(s, 1, 1, false);
    p->shift = vector_of_channels(s, 2, 0, false);
    p->running_mean = vector_of_channels(s, 3, 0, false);
    p->running_var = vector_of_channels(s, 4, 1, false);
    p->mean = vector_of_channels(s, 0, 0, true);
    p->inverse = vector_of_channels(s, 0, 0, true);
    p->diff_scale = vector_of_channels(s, 0, 0, true);
    p->diff_shift = vector_of_channels(s, 0, 0, true);
    p->coefficients = block_of(batch_norm_coefficients(&p->x) * sizeof(float));
    const size_t scratch = batch_norm_scratch(&p->shape) * sizeof(float);
    p->scratch = block_of(scratch);
    memset(p->scratch, 0xff, scratch);
    p->plain_x = fill_map(p->x, s->mean, s->deviation, 5);
    p->plain_residual = fill_map(p->residual, 0, 1, 6);
    p->plain_y = block_of(p->count * sizeof(double));
    p->plain_g = block_of(p->count * sizeof(double));
    p->plain_dx = block_of(p->count * sizeof(double));
    p->norm = (struct reference_norm){s->n,
                                      s->c,
                                      s->h * s->w,
                                      (double)p->shape.epsilon,
                                      p->plain_x,
                                      widened(p->scale, s->c),
                                      widened(p->shift, s->c),
                                      block_of((size_t)s->c * sizeof(double)),
                                      block_of((size_t)s->c * sizeof(double))};
    reference_norm_forward(&p->norm, p->plain_y);
}

static void close_problem(struct problem *p)
{
    void *const blocks[] = {p->x.data,
                            p->y.data,
                            p->g.data,
                            p->dx.data,
                            p->residual.data,
                            p->scale,
                            p->shift,
                            p->running_mean,
                            p->running_var,
                            p->mean,
                            p->inverse,
                            p->diff_scale,
                            p->diff_shift,
                            p->coefficients,
                            p->scratch,
                            p->plain_x,
                            p->plain_residual,
                            p->plain_y,
                            p->plain_g,
                            p->plain_dx,
                            (void *)p->norm.scale,
                            (void *)p->norm.shift,
                            p->norm.mean,
                            p->norm.var};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
        free(blocks[i]);
    for (int i = 0; i < BATCH_NORM_DIFFS; i++)
        free(p->diffs[i].data);
}

/* ---- comparing ---- */

static int channel_of(const struct problem *p, size_t place)
{
    return (int)(place / (size_t)p->norm.hw) % p->norm.c;
}

static double inverse_of(const struct problem *p, int c)
{
    return 1 / sqrt(p->norm.var[c] + p->norm.epsilon);
}

/* Runs of h * w numbers are summed in float: their roundings add up like a random walk. */
static double roundings(const struct problem *p)
{
    return 8 + sqrt((double)p->norm.hw) / 8;
}

/* What a stored number loses, beyond a float's rounding. */
static double storing(const struct problem *p)
{
    return p->setup.type == PRECISION_BF16 ? 1.0 / 256 : 0;
}

static void check_number(const struct problem *p, const char *name, size_t place, double found,
                         double wanted, double tolerance)
{
    if (!(fabs(found - wanted) <= tolerance))
        fail_msg("%s: %s[%zu]: %.9g found, %.9g wanted, within %.3g", describe(&p->setup), name,
                 place, found, wanted, tolerance);
}

/* terms: the magnitudes that a number is summed from, by channel. */
static void check_map(const struct problem *p, const char *name, struct tensor map,
                      const double *wanted, const double *terms, double stored_terms)
{
    float *plain = sketch_plain(map);
    for (size_t i = 0; i < p->count; i++)
        check_number(p, name, i, (double)plain[i], wanted[i],
                     roundings(p) * U * terms[channel_of(p, i)] +
                         storing(p) * (fabs(wanted[i]) + stored_terms));
    struct tensor again = map;
    again.data = block_of(tensor_bytes(&map));
    tensor_from_plain(plain, &again);
    if (memcmp(again.data, map.data, tensor_bytes(&map)))
        fail_msg("%s: %s: the padding is not zero", describe(&p->setup), name);
    free(again.data);
    free(plain);
}

static double largest_of(const double *numbers, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(numbers[i]));
    return largest;
}

/* ---- forward ---- */

static void run_forward(struct problem *p)
{
    const bool in_place = p->setup.residual == RESIDUAL_IN_PLACE;
    if (in_place)
        memcpy(p->y.data, p->residual.data, tensor_bytes(&p->y));
    batch_norm_forward(&p->shape, &(struct batch_norm_forward){.x = p->x.data,
                                                               .residual = in_place ? p->y.data
                                                                           : p->setup.residual
                                                                               ? p->residual.data
                                                                               : NULL,
                                                               .y = p->y.data,
                                                               .scale = p->scale,
                                                               .shift = p->shift,
                                                               .running_mean = p->running_mean,
                                                               .running_var = p->running_var,
                                                               .mean = p->mean,
                                                               .inverse = p->inverse,
                                                               .coefficients = p->coefficients,
                                                               .scratch = p->scratch});
}

static void finish_wanted_y(struct problem *p)
{
    for (size_t i = 0; i < p->count; i++) {
        p->plain_y[i] += p->setup.residual ? p->plain_residual[i] : 0;
        if (p->setup.relu && p->plain_y[i] < 0)
            p->plain_y[i] = 0;
    }
}

/* The terms of y: scale x / deviation, scale mean / deviation, shift, residual. */
static void y_terms(const struct problem *p, double *terms)
{
    const double x = largest_of(p->plain_x, p->count);
    for (int c = 0; c < p->norm.c; c++)
        terms[c] = fabs(p->norm.scale[c]) * inverse_of(p, c) * (x + fabs(p->norm.mean[c])) +
                   fabs(p->norm.shift[c]) + largest_of(p->plain_residual, p->count);
}

/* A variance is summed from squares of distances to the first number, within a few deviations. */
static void check_statistics(const struct problem *p, const float *mean_before,
                             const float *var_before)
{
    const double count = (double)p->norm.n * p->norm.hw, m = (double)p->shape.momentum;
    for (int c = 0; c < p->norm.c; c++) {
        const double mean = p->norm.mean[c], var = p->norm.var[c];
        const double unbiased = count > 1 ? var * count / (count - 1) : var;
        const size_t at = (size_t)c;
        check_number(p, "mean", at, (double)p->mean[c], mean,
                     roundings(p) * U * (fabs(mean) + sqrt(var)));
        check_number(p, "inverse", at, (double)p->inverse[c], inverse_of(p, c),
                     4 * roundings(p) * U * inverse_of(p, c));
        check_number(p, "running_mean", at, (double)p->running_mean[c],
                     (1 - m) * (double)mean_before[c] + m * mean,
                     roundings(p) * U * (1 + fabs(mean) + sqrt(var)));
        check_number(p, "running_var", at, (double)p->running_var[c],
                     (1 - m) * (double)var_before[c] + m * unbiased,
                     4 * roundings(p) * U * (1 + unbiased));
    }
}

static void check_forward(const struct setup *setup)
{
    struct problem p;
    open_problem(&p, setup);
    double terms[setup->c];
    float *mean_before = vector_of_channels(setup, 3, 0, false);
    float *var_before = vector_of_channels(setup, 4, 1, false);
    run_forward(&p);
    finish_wanted_y(&p);
    y_terms(&p, terms);
    check_map(&p, "y", p.y, p.plain_y, terms, 0);
    check_statistics(&p, mean_before, var_before);
    free(mean_before);
    free(var_before);
    close_problem(&p);
}

/* Factor and offset instead of statistics. */
static void check_apply(const struct setup *setup)
{
    struct problem p;
    open_problem(&p, setup);
    double terms[setup->c];
    const bool in_place = setup->residual == RESIDUAL_IN_PLACE;
    if (in_place)
        memcpy(p.y.data, p.residual.data, tensor_bytes(&p.y));
    batch_norm_apply(&p.shape, p.x.data,
                     in_place          ? p.y.data
                     : setup->residual ? p.residual.data
                                       : NULL,
                     p.y.data, p.scale, p.shift);
    for (size_t i = 0; i < p.count; i++) {
        const int c = channel_of(&p, i);
        p.plain_y[i] = p.plain_x[i] * p.norm.scale[c] + p.norm.shift[c];
    }
    finish_wanted_y(&p);
    for (int c = 0; c < setup->c; c++)
        terms[c] = fabs(p.norm.scale[c]) * largest_of(p.plain_x, p.count) + fabs(p.norm.shift[c]) +
                   largest_of(p.plain_residual, p.count);
    check_map(&p, "y", p.y, p.plain_y, terms, 0);
    close_problem(&p);
}

/* ---- backward ---- */

/* Where g and dx go: NOWHERE, a place of its own, diffs[i], or dx into g. */
enum { NOWHERE = -3, OWN = -2, INTO_G = -1 };
struct arrangement {
    int diff_count, g, dx;
};
static const struct arrangement arrangements[] = {
    {1, NOWHERE, OWN}, {1, NOWHERE, 0}, {1, OWN, OWN}, {1, OWN, 0}, {1, 0, OWN},
    {1, 0, INTO_G},    {2, OWN, OWN},   {2, 0, 1},     {2, 1, 0},   {2, 1, INTO_G},
    {3, OWN, 2},       {3, 2, OWN},     {4, OWN, OWN}, {4, 3, 0},   {4, OWN, INTO_G},
};
enum { ARRANGEMENTS = sizeof(arrangements) / sizeof(arrangements[0]) };

static void run_backward(struct problem *p, const struct arrangement *a)
{
    struct batch_norm_backward data = {.x = p->x.data,
                                       .y = p->setup.residual && p->setup.relu ? p->y.data : NULL,
                                       .scale = p->scale,
                                       .mean = p->mean,
                                       .inverse = p->inverse,
                                       .coefficients = p->coefficients,
                                       .diff_scale = p->diff_scale,
                                       .diff_shift = p->diff_shift,
                                       .scratch = p->scratch};
    for (int i = 0; i < a->diff_count; i++)
        data.diffs[i] = p->diffs[i].data;
    if (a->g != NOWHERE)
        data.g = a->g == OWN ? p->g.data : p->diffs[a->g].data;
    data.dx = a->dx == OWN ? p->dx.data : a->dx == INTO_G ? data.g : p->diffs[a->dx].data;
    p->shape.diff_count = a->diff_count;
    batch_norm_backward(&p->shape, &data);
}

/* Sets diffs, and their sum where the kernel's own y is positive (y decides, says the header). */
static void make_gradients(struct problem *p, int diff_count)
{
    float *y = sketch_plain(p->y);
    memset(p->plain_g, 0, p->count * sizeof(double));
    for (int k = 0; k < diff_count; k++) {
        double *diff = fill_map(p->diffs[k], 0.2, 1, 20 + (uint64_t)k);
        for (size_t i = 0; i < p->count; i++)
            p->plain_g[i] += diff[i];
        free(diff);
    }
    for (size_t i = 0; i < p->count; i++)
        if (p->setup.relu && !(y[i] > 0))
            p->plain_g[i] = 0;
    free(y);
}

/* dx is scale / deviation (g - mean(g) - xhat mean(g xhat)); xhat itself is computed from x and
 * mean. */
static void dx_terms(const struct problem *p, const double *diff_scale, const double *diff_shift,
                     double *terms)
{
    const double count = (double)p->norm.n * p->norm.hw, g = largest_of(p->plain_g, p->count);
    const double x = largest_of(p->plain_x, p->count);
    for (int c = 0; c < p->norm.c; c++) {
        const double inverse = inverse_of(p, c), far = inverse * (x + fabs(p->norm.mean[c]));
        terms[c] =
            4 * fabs(p->norm.scale[c]) * inverse *
            (g + fabs(diff_shift[c]) / count + far * (fabs(diff_scale[c]) / count + U * g * far));
    }
}

static void check_sums(const struct problem *p, const double *diff_scale, const double *diff_shift)
{
    const double count = (double)p->norm.n * p->norm.hw;
    const double g = largest_of(p->plain_g, p->count), x = largest_of(p->plain_x, p->count);
    for (int c = 0; c < p->norm.c; c++) {
        const double far = inverse_of(p, c) * (x + fabs(p->norm.mean[c]));
        check_number(p, "diff_shift", (size_t)c, (double)p->diff_shift[c], diff_shift[c],
                     roundings(p) * U * count * g);
        check_number(p, "diff_scale", (size_t)c, (double)p->diff_scale[c], diff_scale[c],
                     roundings(p) * U * count * g * far);
    }
}

static void check_arrangement(struct problem *p, const struct arrangement *a)
{
    double diff_scale[p->norm.c], diff_shift[p->norm.c], terms[p->norm.c];
    clear(p->g);
    clear(p->dx);
    make_gradients(p, a->diff_count);
    run_backward(p, a);
    reference_norm_backward(&p->norm, p->plain_g, p->plain_dx, diff_scale, diff_shift);
    check_sums(p, diff_scale, diff_shift);
    dx_terms(p, diff_scale, diff_shift, terms);
    const struct tensor g = a->g >= 0 ? p->diffs[a->g] : p->g;
    const struct tensor dx = a->dx >= 0 ? p->diffs[a->dx] : a->dx == INTO_G ? g : p->dx;
    double stored = 0;
    for (int c = 0; c < p->norm.c; c++)
        stored = fmax(stored, fabs(p->norm.scale[c]) * inverse_of(p, c));
    check_map(p, "dx", dx, p->plain_dx, terms, stored * largest_of(p->plain_g, p->count));
    if (a->g == NOWHERE || a->dx == INTO_G)
        return;
    for (int c = 0; c < p->norm.c; c++)
        terms[c] = largest_of(p->plain_g, p->count);
    check_map(p, "g", g, p->plain_g, terms, 0);
}

static void check_backward(const struct setup *setup)
{
    struct problem p;
    open_problem(&p, setup);
    run_forward(&p);
    for (int i = 0; i < ARRANGEMENTS; i++)
        check_arrangement(&p, &arrangements[i]);
    close_problem(&p);
}

/* ---- the tests ---- */

static const struct {
    int n, c, h, w;
} sizes[] = {{1, 3, 1, 1}, {5, 5, 1, 1}, {3, 17, 3, 5}, {2, 33, 7, 7}, {1, 16, 3, 5}, {4, 8, 2, 2}};

/* Means and deviations of x; the last two lose everything where sums of squares are subtracted. */
static const struct {
    double mean, deviation;
} spreads[] = {{0, 1}, {3, 0.5}, {-1000, 0.5}, {4096, 0.25}};

static void each_setup(void (*check)(const struct setup *setup), size_t spread_count)
{
    const int best = (int)cpu_level();
    for (int level = 0; level <= best; level++)
        for (int type = PRECISION_F32; type <= PRECISION_BF16; type++)
            for (int block = 8; block <= 16; block += 8)
                for (size_t size = 0; size < sizeof(sizes) / sizeof(sizes[0]); size++)
                    for (size_t spread = 0; spread < spread_count; spread++)
                        for (int tail = 0; tail < 2 * RESIDUALS; tail++)
                            check(&(struct setup){(enum cpu_level)level, (enum precision)type,
                                                  block, sizes[size].n, sizes[size].c,
                                                  sizes[size].h, sizes[size].w, tail % 2 == 1,
                                                  (enum residual)(tail / 2), spreads[spread].mean,
                                                  spreads[spread].deviation});
    cpu_limit((enum cpu_level)best);
}

enum { USUAL_SPREADS = 2, ALL_SPREADS = sizeof(spreads) / sizeof(spreads[0]) };

static void forward_agrees_with_the_slow_twin_also_far_from_zero(void **state)
{
    each_setup(check_forward, ALL_SPREADS);
}

static void backward_agrees_with_the_slow_twin_in_every_arrangement(void **state)
{
    each_setup(check_backward, USUAL_SPREADS);
}

static void apply_agrees_with_its_formula(void **state)
{
    each_setup(check_apply, USUAL_SPREADS);
}

/* Everything that a forward and a backward pass leave. */
static uint64_t fingerprint(const struct problem *p)
{
    const struct {
        const void *data;
        size_t bytes;
    } parts[] = {{p->y.data, tensor_bytes(&p->y)},        {p->g.data, tensor_bytes(&p->g)},
                 {p->dx.data, tensor_bytes(&p->dx)},      {p->mean, (size_t)p->norm.c * 4},
                 {p->inverse, (size_t)p->norm.c * 4},     {p->running_mean, (size_t)p->norm.c * 4},
                 {p->running_var, (size_t)p->norm.c * 4}, {p->diff_scale, (size_t)p->norm.c * 4},
                 {p->diff_shift, (size_t)p->norm.c * 4}};
    uint64_t hash = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        for (size_t k = 0; k < parts[i].bytes; k++)
            hash = (hash ^ ((const unsigned char *)parts[i].data)[k]) * 0x100000001b3u;
    return hash;
}

static uint64_t run_with_threads(const struct setup *setup, int threads)
{
    struct problem p;
    open_problem(&p, setup);
    p.shape.threads = threads;
    run_forward(&p);
    make_gradients(&p, 2);
    run_backward(&p, &(struct arrangement){2, OWN, OWN});
    const uint64_t hash = fingerprint(&p);
    close_problem(&p);
    return hash;
}

/* The last size is large enough to be done in several groups of channels. */
static void results_do_not_depend_on_the_number_of_threads(void **state)
{
    static const struct {
        int n, c, h, w;
    } maps[] = {{3, 33, 7, 7}, {1, 17, 3, 5}, {2, 40, 160, 160}};
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
        for (int type = PRECISION_F32; type <= PRECISION_BF16; type++) {
            const struct setup setup = {cpu_level(),
                                        (enum precision)type,
                                        16,
                                        maps[i].n,
                                        maps[i].c,
                                        maps[i].h,
                                        maps[i].w,
                                        true,
                                        RESIDUAL,
                                        1,
                                        2};
            const uint64_t one = run_with_threads(&setup, 1);
            for (int threads = 2; threads <= 3; threads++)
                if (run_with_threads(&setup, threads) != one)
                    fail_msg("%s: %d threads give something else than one", describe(&setup),
                             threads);
        }
}

/* Several groups of channels also give right results. */
static void a_map_larger_than_the_cache_is_right(void **state)
{
    const struct setup setup = {cpu_level(), PRECISION_F32, 16,       2, 40, 160,
                                160,         true,          RESIDUAL, 1, 2};
    check_forward(&setup);
    struct problem p;
    open_problem(&p, &setup);
    run_forward(&p);
    check_arrangement(&p, &(struct arrangement){2, 0, 1});
    close_problem(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_agrees_with_the_slow_twin_also_far_from_zero),
        cmocka_unit_test(backward_agrees_with_the_slow_twin_in_every_arrangement),
        cmocka_unit_test(apply_agrees_with_its_formula),
        cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(a_map_larger_than_the_cache_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
