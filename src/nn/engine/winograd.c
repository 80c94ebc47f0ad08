/* winograd.c - which kernels, and how much at a time.
 *
 * Measured on two Zen 4 cores (batch 128, 32-bit peak 232 GFLOP/s), in GFLOP/s of the plain
 * convolution, this against oneDNN 2.6's direct kernels: 16 -> 16 channels at 32x32 456 / 172
 * forward, 365 / 188 gradient of weights; 64 -> 64 at 8x8 610 / 275 and 585 / 242; 256 -> 256 at
 * 8x8 750 / 274 and 630 / 229. In bf16 the direct kernels reach 440 and 270. */
#include "nn/engine/winograd.h"

#include "base/cpu.h"
#include "nn/engine/winograd_plan.h"

enum {
    TILES = 48, /* of a chunk: their 36 numbers of 64 channels fill half of an L2 cache */
    SHARED_BYTES = 16 << 20, /* of a chunk that threads share */
    OWN_SUMS = 24            /* icb * ocb up to which each thread has its own sum of gradients */
};

static const struct winograd_kernels *kernels_of(int block)
{
#if defined(__x86_64__)
    if (block == 16)
        return cpu_level() == CPU_avx512 ? &winograd_kernels_avx512 : NULL;
    return cpu_level() >= CPU_avx2 ? &winograd_kernels_narrow : NULL;
#else
    return block == 8 ? &winograd_kernels_narrow : NULL;
#endif
}

/* A tile costs 36 products, whatever part of it lies on the map; a position costs 9 directly. The
 * transformations make up for a third. */
bool winograd_fits(const struct winograd *what)
{
    const struct winograd_plan plan = winograd_plan_forward(what);
    const int direct = what->h * what->w * 9;
    const int tiled = plan.across * plan.down * WINOGRAD_SPACE;
    return what->block > 1 && kernels_of(what->block) && tiled * 4 / 3 <= direct;
}

/* ---- the plan ---- */

static int up(int n, int to)
{
    return (n + to - 1) / to * to;
}

/* Rows are set apart by one block more, so that the 36 do not fall into the same cache sets. */
static void take_chunks(const struct winograd *what, int tiles, int products,
                        struct winograd_plan *plan)
{
    const int most = tiles / plan->across > 1 ? tiles / plan->across : 1;
    const int chunks = (plan->strips + most - 1) / most;
    plan->chunk = (plan->strips + chunks - 1) / chunks;
    plan->room = up(plan->chunk * plan->across, WINOGRAD_ROWS);
    plan->v_row = ((size_t)plan->room * plan->icb + 1) * what->block;
    plan->m_row = ((size_t)plan->room * products + 1) * what->block;
    plan->v = WINOGRAD_SPACE * plan->v_row;
    plan->m = WINOGRAD_SPACE * plan->m_row;
}

struct winograd_plan winograd_plan_forward(const struct winograd *what)
{
    struct winograd_plan plan = {.icb = up(what->ic, what->block) / what->block,
                                 .ocb = up(what->oc, what->block) / what->block,
                                 .panel = what->block / 4,
                                 .across = up(what->w, WINOGRAD_TILE) / WINOGRAD_TILE,
                                 .down = up(what->h, WINOGRAD_TILE) / WINOGRAD_TILE};
    const size_t width = (size_t)plan.across * WINOGRAD_TILE;
    plan.strips = plan.down * what->n;
    plan.u_row = ((size_t)plan.icb * plan.ocb * what->block + 1) * what->block;
    plan.u = WINOGRAD_SPACE * plan.u_row;
    plan.columns = ((width + 2) * WINOGRAD_SPAN + width) * what->block;
    take_chunks(what, TILES, plan.ocb < plan.panel ? plan.ocb : plan.panel, &plan);
    return plan;
}

struct winograd_plan winograd_plan_backward(const struct winograd *what)
{
    struct winograd_plan plan = winograd_plan_forward(what);
    const size_t tile =
        WINOGRAD_SPACE * sizeof(float) * what->block * (size_t)(plan.icb + plan.ocb);
    plan.shared = plan.icb * plan.ocb > OWN_SUMS;
    take_chunks(what, plan.shared ? (int)(SHARED_BYTES / tile) : TILES, plan.ocb, &plan);
    return plan;
}

size_t winograd_weights_count(const struct winograd *what)
{
    return winograd_plan_forward(what).u;
}

size_t winograd_forward_scratch(const struct winograd *what)
{
    const struct winograd_plan plan = winograd_plan_forward(what);
    return (size_t)what->threads * (plan.v + plan.m + plan.columns);
}

size_t winograd_backward_scratch(const struct winograd *what)
{
    const struct winograd_plan plan = winograd_plan_backward(what);
    const size_t teams = plan.shared ? 1 : (size_t)what->threads;
    const size_t biases = (size_t)plan.ocb * what->block;
    return (size_t)what->threads * (plan.columns + biases) + teams * (plan.v + plan.m + plan.u);
}

/* ---- the passes ---- */

static void transform_weights(const struct winograd *what, const float *weights, bool turned,
                              float *u)
{
    const struct winograd_plan plan = winograd_plan_forward(what);
#pragma omp parallel num_threads(what->threads)
    kernels_of(what->block)->weights(what, &plan, weights, turned, u);
}

void winograd_weights(const struct winograd *what, const float *weights, float *u)
{
    transform_weights(what, weights, false, u);
}

void winograd_weights_turned(const struct winograd *what, const float *weights, float *u)
{
    transform_weights(what, weights, true, u);
}

void winograd_forward(const struct winograd *what, const struct winograd_forward *data)
{
    const struct winograd_plan plan = winograd_plan_forward(what);
#pragma omp parallel num_threads(what->threads)
    kernels_of(what->block)->forward(what, &plan, data);
}

void winograd_backward_weights(const struct winograd *what, const struct winograd_backward *data)
{
    const struct winograd_plan plan = winograd_plan_backward(what);
#pragma omp parallel num_threads(what->threads)
    kernels_of(what->block)->backward_weights(what, &plan, data);
}
