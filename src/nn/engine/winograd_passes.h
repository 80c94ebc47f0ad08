/* winograd_passes.h - Winograd's convolution for blocks of WIDTH channels, as KERNELS: a template,
 * included by the file of each width. Every function is called by all threads of a team. */
#include <omp.h>

#include "nn/engine/elementwise.h"
#include "nn/engine/winograd_plan.h"
#include "nn/engine/winograd_transforms.h" /* before the products, which use its vectors */

#include "nn/engine/winograd_products.h"

/* The part of `count` things that thread number `thread` of `team` begins with. */
static int share(int count, int thread, int team)
{
    return (int)((long)count * thread / team);
}

static size_t map_bytes(enum precision type, const struct winograd *what)
{
    const size_t size = type == PRECISION_F32 ? sizeof(float) : sizeof(uint16_t);
    return (size_t)what->h * what->w * WIDTH * size;
}

/* Strip number `index` of the batch: its image, and what it needs of the thread's columns. */
static struct strip strip_of(const struct winograd *what, const struct winograd_plan *plan,
                             int index, float *columns, int *image)
{
    *image = index / plan->down;
    return (struct strip){what, plan, index % plan->down, columns,
                          columns + (size_t)(plan->across * TILE + 2) * SPAN *
                                        WIDTH}; /* zeros, see clear_zeros */
}

static void clear_zeros(const struct winograd_plan *plan, float *columns)
{
    memset(columns + (size_t)(plan->across * TILE + 2) * SPAN * WIDTH, 0,
           (size_t)plan->across * TILE * sizeof(vec));
}

/* ---- weights ---- */

/* The 3x3 kernels of one input channel for one block of oc, g[y][x] being WIDTH of them. */
static void put_weights(vec g[KERNEL][KERNEL], float *u, size_t row)
{
    vec columns[KERNEL][SPAN], t[SPAN], x[KERNEL];
    for (int j = 0; j < KERNEL; j++) {
        for (int i = 0; i < KERNEL; i++)
            x[i] = g[i][j];
        weights_to_space(x, columns[j]);
    }
    for (int k = 0; k < SPAN; k++) {
        for (int j = 0; j < KERNEL; j++)
            x[j] = columns[j][k];
        weights_to_space(x, t);
        for (int i = 0; i < SPAN; i++)
            vec_put(u + (size_t)(k * SPAN + i) * row, t[i]);
    }
}

/* Block (ocb, icb) of the pass. The convolution's weights have ic and oc exchanged when turned. */
static void transform_block(const struct winograd_plan *plan, const float *weights, bool turned,
                            int ocb, int icb, float *u)
{
    enum { BLOCK = WIDTH * WIDTH };
    const size_t block = turned ? (size_t)icb * plan->ocb + ocb : (size_t)ocb * plan->icb + icb;
    const float *from = weights + block * KERNEL * KERNEL * BLOCK;
    float exchanged[KERNEL * KERNEL * BLOCK] __attribute__((aligned(64)));
    if (turned) {
        for (int k = 0; k < KERNEL * KERNEL; k++)
            for (int i = 0; i < WIDTH; i++)
                for (int o = 0; o < WIDTH; o++)
                    exchanged[((KERNEL * KERNEL - 1 - k) * WIDTH + o) * WIDTH + i] =
                        from[(k * WIDTH + i) * WIDTH + o];
        from = exchanged;
    }
    for (int i = 0; i < WIDTH; i++) {
        vec g[KERNEL][KERNEL];
        for (int k = 0; k < KERNEL * KERNEL; k++)
            g[k / KERNEL][k % KERNEL] = vec_get(from + (k * WIDTH + i) * WIDTH);
        put_weights(g, u + winograd_place(plan, WIDTH, icb * WIDTH + i, ocb), plan->u_row);
    }
}

static void weights(const struct winograd *what, const struct winograd_plan *plan,
                    const float *weights, bool turned, float *u)
{
#pragma omp for collapse(2) schedule(static)
    for (int ocb = 0; ocb < plan->ocb; ocb++)
        for (int icb = 0; icb < plan->icb; icb++)
            transform_block(plan, weights, turned, ocb, icb, u);
}

/* ---- forward ---- */

INLINE void transform_source(enum precision type, const struct winograd *what,
                             const struct winograd_plan *plan, const void *src, int index,
                             float *columns, float *v)
{
    int image;
    const struct strip strip = strip_of(what, plan, index, columns, &image);
    const size_t bytes = map_bytes(type, what), apart = (size_t)plan->room * WIDTH;
    for (int b = 0; b < plan->icb; b++)
        strip_source(type, &strip, (const char *)src + ((size_t)image * plan->icb + b) * bytes,
                     v + b * apart);
}

/* The residual's rows from the strip's first on; those of a view are picked into the columns, which
 * nobody needs now. */
static const void *residual_rows(const struct strip *strip, const struct winograd_forward *data,
                                 int image, int block)
{
    const struct winograd *what = strip->what;
    const size_t bytes = map_bytes(what->type, what), row = bytes / (size_t)what->h;
    const int first = strip->tile_row * TILE;
    if (!data->residual)
        return NULL;
    if (!what->residual_view)
        return (const char *)data->residual + ((size_t)image * strip->plan->ocb + block) * bytes +
               (size_t)first * row;
    for (int i = 0; i < TILE && first + i < what->h; i++)
        shortcut_row(what->residual_view, image, block, first + i, data->residual,
                     (char *)strip->columns + (size_t)i * row);
    return strip->columns;
}

/* `wide` blocks of oc from ocb on; m holds only those. */
INLINE void transform_output(enum precision type, const struct winograd *what,
                             const struct winograd_plan *plan, const struct winograd_forward *data,
                             int index, int ocb, int wide, float *columns, const float *m)
{
    int image;
    const struct strip strip = strip_of(what, plan, index, columns, &image);
    const size_t bytes = map_bytes(type, what), row = bytes / (size_t)what->h;
    const size_t apart = (size_t)plan->room * WIDTH;
    for (int k = 0; k < wide; k++) {
        const size_t at =
            ((size_t)image * plan->ocb + ocb + k) * bytes + (size_t)strip.tile_row * TILE * row;
        const struct strip_tail tail = {.bias = data->bias ? vec_get(data->bias + (ocb + k) * WIDTH)
                                                           : (vec){0},
                                        .residual = residual_rows(&strip, data, image, ocb + k),
                                        .relu = data->relu,
                                        .dst = (char *)data->dst + at};
        strip_output(type, &strip, m + k * apart, &tail);
    }
}

INLINE void forward_any(enum precision type, const struct winograd *what,
                        const struct winograd_plan *plan, const struct winograd_forward *data)
{
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    const int end = share(plan->strips, thread + 1, team);
    float *v = data->scratch + (size_t)thread * (plan->v + plan->m + plan->columns);
    float *m = v + plan->v, *columns = m + plan->m;
    clear_zeros(plan, columns);
    for (int from = share(plan->strips, thread, team); from < end; from += plan->chunk) {
        const int count = from + plan->chunk < end ? plan->chunk : end - from;
        for (int s = 0; s < count; s++)
            transform_source(type, what, plan, data->src, from + s, columns,
                             v + s * plan->across * WIDTH);
        for (int k = 0; k < plan->ocb; k += PANEL) {
            const int wide = winograd_panel_width(plan, k);
            const float *u = data->u + winograd_place(plan, WIDTH, 0, k);
            for (int t = 0; t < SPACE; t++)
                products(plan, wide, count * plan->across, v + t * plan->v_row, u + t * plan->u_row,
                         m + t * plan->m_row);
            for (int s = 0; s < count; s++)
                transform_output(type, what, plan, data, from + s, k, wide, columns,
                                 m + s * plan->across * WIDTH);
        }
    }
}

static void forward(const struct winograd *what, const struct winograd_plan *plan,
                    const struct winograd_forward *data)
{
    if (what->type == PRECISION_BF16)
        forward_any(PRECISION_BF16, what, plan, data);
    else
        forward_any(PRECISION_F32, what, plan, data);
}

/* ---- the gradient of weights ---- */

/* Where the team's scratch holds what: columns and sums of biases by thread, then one or one a
 * thread of v, m and the sum in the space of 36. */
struct backward_scratch {
    float *columns, *bias, *v, *m, *sum;
};
static struct backward_scratch scratch_of(const struct winograd_plan *plan, float *scratch,
                                          int thread, int team)
{
    const size_t biases = (size_t)plan->ocb * WIDTH;
    const size_t own = plan->shared ? 0 : (size_t)thread;
    struct backward_scratch s = {.columns = scratch + (size_t)thread * plan->columns};
    s.bias = scratch + (size_t)team * plan->columns + (size_t)thread * biases;
    s.v = scratch + (size_t)team * (plan->columns + biases) + own * (plan->v + plan->m + plan->u);
    s.m = s.v + plan->v;
    s.sum = s.m + plan->m;
    return s;
}

INLINE void transform_pair(enum precision type, const struct winograd *what,
                           const struct winograd_plan *plan, const struct winograd_backward *data,
                           int index, int place, const struct backward_scratch *scratch)
{
    int image;
    const struct strip strip = strip_of(what, plan, index, scratch->columns, &image);
    const size_t bytes = map_bytes(type, what), apart = (size_t)plan->room * WIDTH;
    transform_source(type, what, plan, data->src, index, scratch->columns,
                     scratch->v + place * plan->across * WIDTH);
    for (int k = 0; k < plan->ocb; k++)
        strip_gradient(
            type, &strip, (const char *)data->diff_dst + ((size_t)image * plan->ocb + k) * bytes,
            scratch->m + place * plan->across * WIDTH + k * apart, scratch->bias + k * WIDTH);
}

/* G^T sum G of one block, summed over the team's threads in their order. */
static void put_gradient(const struct winograd_plan *plan, const float *sum, int sums, int ocb,
                         int icb, float *diff_weights)
{
    const size_t next = plan->v + plan->m + plan->u;
    float *to = diff_weights + ((size_t)ocb * plan->icb + icb) * KERNEL * KERNEL * WIDTH * WIDTH;
    for (int i = 0; i < WIDTH; i++) {
        const float *from = sum + winograd_place(plan, WIDTH, icb * WIDTH + i, ocb);
        vec columns[SPAN][KERNEL], t[SPAN], g[KERNEL];
        for (int j = 0; j < SPAN; j++) {
            for (int k = 0; k < SPAN; k++) {
                t[k] = vec_get(from + (size_t)(k * SPAN + j) * plan->u_row);
                for (int other = 1; other < sums; other++)
                    t[k] += vec_get(from + other * next + (size_t)(k * SPAN + j) * plan->u_row);
            }
            weights_from_space(t, columns[j]);
        }
        for (int y = 0; y < KERNEL; y++) {
            for (int j = 0; j < SPAN; j++)
                t[j] = columns[j][y];
            weights_from_space(t, g);
            for (int x = 0; x < KERNEL; x++)
                vec_put(to + ((y * KERNEL + x) * WIDTH + i) * WIDTH, g[x]);
        }
    }
}

static void put_bias(const struct winograd_plan *plan, const float *bias, int team,
                     float *diff_bias)
{
    const size_t count = (size_t)plan->ocb * WIDTH;
    for (size_t i = 0; i < count; i++) {
        float sum = 0;
        for (int thread = 0; thread < team; thread++)
            sum += bias[(size_t)thread * count + i];
        diff_bias[i] = sum;
    }
}

INLINE void backward_any(enum precision type, const struct winograd *what,
                         const struct winograd_plan *plan, const struct winograd_backward *data)
{
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    /* With its own sum a thread does all for its strips; else threads divide each chunk twice: by
     * strips, and by the 36. */
    const bool shared = plan->shared;
    const int part = shared ? thread : 0, parts = shared ? team : 1;
    const int begin = shared ? 0 : share(plan->strips, thread, team);
    const int end = shared ? plan->strips : share(plan->strips, thread + 1, team);
    const struct backward_scratch s = scratch_of(plan, data->scratch, thread, team);
    const struct backward_scratch first = scratch_of(plan, data->scratch, 0, team);
    clear_zeros(plan, s.columns);
    memset(s.bias, 0, (size_t)plan->ocb * sizeof(vec));
    if (begin == end)
        memset(s.sum, 0, plan->u * sizeof(float));
    for (int from = begin; from < end; from += plan->chunk) {
        const int count = from + plan->chunk < end ? plan->chunk : end - from;
        for (int i = share(count, part, parts); i < share(count, part + 1, parts); i++)
            transform_pair(type, what, plan, data, from + i, i, &s);
        if (shared) {
#pragma omp barrier
        }
        for (int t = share(SPACE, part, parts); t < share(SPACE, part + 1, parts); t++)
            sum_products(plan, count * plan->across, s.v + t * plan->v_row, s.m + t * plan->m_row,
                         from > begin, s.sum + t * plan->u_row);
        if (shared) {
#pragma omp barrier
        }
    }
#pragma omp barrier
#pragma omp for collapse(2) schedule(static)
    for (int ocb = 0; ocb < plan->ocb; ocb++)
        for (int icb = 0; icb < plan->icb; icb++)
            put_gradient(plan, first.sum, shared ? 1 : team, ocb, icb, data->diff_weights);
    if (data->diff_bias) {
#pragma omp single
        put_bias(plan, first.bias, team, data->diff_bias);
    }
}

static void backward_weights(const struct winograd *what, const struct winograd_plan *plan,
                             const struct winograd_backward *data)
{
    if (what->type == PRECISION_BF16)
        backward_any(PRECISION_BF16, what, plan, data);
    else
        backward_any(PRECISION_F32, what, plan, data);
}

const struct winograd_kernels KERNELS = {weights, forward, backward_weights};
