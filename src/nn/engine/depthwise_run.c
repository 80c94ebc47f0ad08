/* depthwise_run.c - the loops over one run, compiled for each instruction-set level.
 *
 * The source's rows go through a ring of three, in f32 and with batch norm and ReLU applied; the
 * gradient's through another one. A row has a position of zeros at either end, and rows beyond the
 * map are a row of zeros. */
#include "nn/engine/depthwise_run.h"

#include "base/cpu.h"
#include "nn/engine/batch_norm_run.h"

enum { RING = 3, TAPS = 9 };

/* Zeros, one more position and the rest of a vector that a last half vector reads. */
static size_t row_floats(int block, int w)
{
    return (size_t)(w + 3) * (size_t)block + LANES;
}

size_t depthwise_row_floats(int block, int w)
{
    return (2 * RING + 1) * row_floats(block, w);
}

/* Rows -1, 0, 1 ... of a ring; a row begins with its position -1. */
struct ring {
    float *rows;
    const float *zeros;
    size_t floats; /* of a row */
    int count;     /* rows of the map */
};

KERNEL_INLINE float *ring_place(const struct ring *ring, int row)
{
    return ring->rows + (size_t)(row % RING) * ring->floats;
}

KERNEL_INLINE const float *ring_row(const struct ring *ring, int row)
{
    return row < 0 || row >= ring->count ? ring->zeros : ring_place(ring, row);
}

/* What is constant in a compiled loop: floats that a step covers, and where a step reads. */
#define STEP_OF(stride, block) ((stride) == 1 ? LANES : (block))

KERNEL_INLINE vector at_channels(const float *coefficients, int which)
{
    return vector_load(PRECISION_F32, coefficients, (size_t)which * LANES, LANES);
}

/* Values at or below the floor become 0: the floor is 0 with ReLU, else below every number. */
KERNEL_INLINE vector floor_of(bool relu)
{
    return vector_of(relu ? 0 : -__builtin_inff());
}

KERNEL_INLINE vector cut(vector x, vector floor)
{
    return (vector)((vector_mask)x & (x > floor));
}

/* `count` numbers in steps of whole vectors, the last one perhaps half. */
#define EACH_STEP(count, body)                                                                     \
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

/* The processor does not read ahead over the pauses in which a row is worked on: bytes that are
 * asked for early, into the second-level cache. What follows a run is the next one. */
enum { AHEAD = 8192 };

KERNEL_INLINE void ask_for(enum precision type, const void *map, size_t at)
{
    __builtin_prefetch((const char *)map + at * (type == PRECISION_F32 ? 4 : 2) + AHEAD, 0, 2);
}

/* A row of the source: relu(x * a + b). */
KERNEL_INLINE void read_source(enum precision type, int block, const struct depthwise_run *r,
                               const struct ring *ring, int row)
{
    const size_t count = (size_t)r->w * (size_t)block, from = (size_t)row * count;
    const vector a = at_channels(r->norm, A), b = at_channels(r->norm, B);
    const vector floor = floor_of(r->relu);
    float *out = ring_place(ring, row) + block;
    EACH_STEP(count, {
        ask_for(type, r->x, from + at);
        vector v = cut(vector_load(type, r->x, from + at, lanes) * a + b, floor);
        vector_store(PRECISION_F32, out, at, lanes, v);
    });
}

/* A row of the gradient of y: g * p + y * q + r, g being cut where the next ReLU cut. */
KERNEL_INLINE void read_gradient(enum precision type, int block, const struct depthwise_run *r,
                                 const struct ring *ring, int row)
{
    const size_t count = (size_t)r->dst_w * (size_t)block, from = (size_t)row * count;
    float *out = ring_place(ring, row) + block;
    if (!r->y) {
        EACH_STEP(count, vector_store(PRECISION_F32, out, at, lanes,
                                      vector_load(type, r->g, from + at, lanes)));
        return;
    }
    const vector a = at_channels(r->next, A), b = at_channels(r->next, B);
    const vector p = at_channels(r->next, P), q = at_channels(r->next, Q);
    const vector rest = at_channels(r->next, R), floor = floor_of(r->next_relu);
    EACH_STEP(count, {
        ask_for(type, r->y, from + at);
        ask_for(type, r->g, from + at);
        vector y = vector_load(type, r->y, from + at, lanes);
        vector g = vector_load(type, r->g, from + at, lanes);
        g = (vector)((vector_mask)g & (y * a + b > floor));
        vector_store(PRECISION_F32, out, at, lanes, g * p + y * q + rest);
    });
}

KERNEL_INLINE void load_weights(const float *weights, int block, vector w[TAPS])
{
    for (int k = 0; k < TAPS; k++)
        w[k] = vector_channels(weights + (size_t)k * (size_t)block, block);
}

/* The sum of nine products; rows are read from `at`, the weights backwards when turned. */
KERNEL_INLINE vector products(const float *const rows[RING], const vector w[TAPS], bool turned,
                              size_t at, int block, int lanes)
{
    vector sum = {0};
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++)
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++)
            sum += w[turned ? 8 - 3 * i - j : 3 * i + j] *
                   vector_load(PRECISION_F32, rows[i], at + (size_t)(j * block), lanes);
    return sum;
}

KERNEL_INLINE vector only(vector x, int lanes)
{
    for (int i = lanes; i < LANES; i++)
        x[i] = 0;
    return x;
}

/* ---- forward ---- */

struct sums {
    vector first, sum, squares;
};

KERNEL_INLINE void forward_row(enum precision type, int block, int stride,
                               const float *const rows[RING], const vector w[TAPS], size_t count,
                               void *out, size_t from, struct sums *sums)
{
    const int step = STEP_OF(stride, block);
    vector sum = sums->sum, squares = sums->squares;
    size_t at = 0;
    for (; at + (size_t)step <= count; at += (size_t)step) {
        vector y = products(rows, w, false, at * (size_t)stride, block, step);
        vector_store(type, out, from + at, step, y);
        vector d = y - sums->first;
        if (step < LANES)
            d = only(d, step);
        sum += d;
        squares += d * d;
    }
    if (at < count) {
        const int lanes = (int)(count - at);
        vector y = products(rows, w, false, at * (size_t)stride, block, LANES);
        vector_store(type, out, from + at, lanes, y);
        vector d = only(y - sums->first, lanes);
        sum += d;
        squares += d * d;
    }
    sums->sum = sum;
    sums->squares = squares;
}

KERNEL_INLINE void forward(enum precision type, int block, int stride,
                           const struct depthwise_run *r)
{
    const size_t floats = row_floats(block, r->w), count = (size_t)r->dst_w * (size_t)block;
    const struct ring ring = {r->rows + floats, r->rows, floats, r->h};
    struct sums sums = {{0}};
    vector w[TAPS];
    load_weights(r->weights, block, w);
    for (int y = 0, read = 0; y < r->dst_h; y++) {
        for (; read < r->h && read <= y * stride + 1; read++)
            read_source(type, block, r, &ring, read);
        const float *const rows[RING] = {ring_row(&ring, y * stride - 1),
                                         ring_row(&ring, y * stride),
                                         ring_row(&ring, y * stride + 1)};
        if (y == 0) {
            float first[LANES];
            vector head = products(rows, w, false, 0, block, LANES);
            memcpy(first, &head, sizeof(first));
            sums.first = vector_channels(first, block);
        }
        forward_row(type, block, stride, rows, w, count, r->out, (size_t)y * count, &sums);
    }
    if (r->sums) {
        memcpy(r->sums, &sums.sum, sizeof(vector));
        memcpy(r->sums + LANES, &sums.squares, sizeof(vector));
        memcpy(r->sums + SUMS, &sums.first, sizeof(vector));
    }
}

/* ---- backward ---- */

/* The gradient of the weights from one row of the gradient. */
KERNEL_INLINE void weights_row(int block, int stride, const float *gradient,
                               const float *const rows[RING], size_t count, vector sums[TAPS])
{
    const int step = STEP_OF(stride, block);
    vector s[TAPS];
    for (int k = 0; k < TAPS; k++)
        s[k] = sums[k];
    for (size_t at = 0; at < count; at += (size_t)step) { /* zeros follow the last position */
        const vector g = vector_load(PRECISION_F32, gradient, at + (size_t)block, step);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++)
#pragma GCC unroll 3
            for (int j = 0; j < 3; j++)
                s[3 * i + j] += g * vector_load(PRECISION_F32, rows[i],
                                                at * (size_t)stride + (size_t)(j * block), step);
    }
    for (int k = 0; k < TAPS; k++)
        sums[k] = s[k];
}

/* Where the gradient of the source goes: stored, and summed for the batch norm of x. */
struct finish {
    vector floor, mean, sum, products;
    const float *source; /* of this row, from its first position */
    size_t from;         /* place of the row in x and out */
};

KERNEL_INLINE void finish_diff(enum precision type, const struct depthwise_run *r, struct finish *f,
                               size_t at, int lanes, vector diff)
{
    const vector source = vector_load(PRECISION_F32, f->source, at, lanes);
    vector x = vector_load(type, r->x, f->from + at, lanes);
    diff = (vector)((vector_mask)diff & (source > f->floor));
    vector_store(type, r->out, f->from + at, lanes, diff);
    if (lanes < LANES)
        diff = only(diff, lanes);
    f->sum += diff;
    f->products += diff * (x - f->mean);
}

/* A row of the source's gradient at stride 1: a convolution with turned weights. */
KERNEL_INLINE void source_row(enum precision type, int block, const struct depthwise_run *r,
                              const float *const rows[RING], const vector w[TAPS],
                              struct finish *finish)
{
    const size_t count = (size_t)r->w * (size_t)block;
    struct finish f = *finish;
    EACH_STEP(count, {
        const vector diff = products(rows, w, true, at, block, LANES);
        finish_diff(type, r, &f, at, lanes, diff);
    });
    *finish = f;
}

/* At stride 2, row i of the source takes part in row i / 2 of the result through the middle row of
 * the weights if i is even, and in two rows through the others if it is odd; columns likewise. */
KERNEL_INLINE void source_row_strided(enum precision type, int block, const struct depthwise_run *r,
                                      const float *upper, const float *lower, const vector w[TAPS],
                                      bool odd, struct finish *finish)
{
    struct finish f = *finish;
    const int top = odd ? 6 : 3; /* the row of weights that `upper` goes with; `lower` with 0 */
    for (int x = 0; x < r->dst_w; x++) {
        const size_t here = (size_t)(x + 1) * (size_t)block, next = here + (size_t)block;
        const size_t at = (size_t)(2 * x) * (size_t)block;
        const vector u0 = vector_load(PRECISION_F32, upper, here, block);
        const vector u1 = vector_load(PRECISION_F32, upper, next, block);
        vector even = w[top + 1] * u0, right = w[top + 2] * u0 + w[top] * u1;
        if (odd) {
            const vector l0 = vector_load(PRECISION_F32, lower, here, block);
            const vector l1 = vector_load(PRECISION_F32, lower, next, block);
            even += w[1] * l0;
            right += w[2] * l0 + w[0] * l1;
        }
        finish_diff(type, r, &f, at, block, even);
        if (2 * x + 1 < r->w)
            finish_diff(type, r, &f, at + (size_t)block, block, right);
    }
    *finish = f;
}

/* The row of the source that is finished next. */
KERNEL_INLINE void aim(struct finish *finish, const struct ring *source, int block, int w, int row)
{
    finish->source = ring_place(source, row) + block;
    finish->from = (size_t)row * (size_t)w * (size_t)block;
}

KERNEL_INLINE void backward(enum precision type, int block, int stride,
                            const struct depthwise_run *r)
{
    const size_t floats = row_floats(block, r->w), count = (size_t)r->dst_w * (size_t)block;
    const struct ring source = {r->rows + floats, r->rows, floats, r->h};
    const struct ring gradient = {r->rows + (1 + RING) * floats, r->rows, floats, r->dst_h};
    struct finish finish = {.floor = floor_of(r->relu), .mean = at_channels(r->norm, MEAN)};
    vector w[TAPS], diff_weights[TAPS] = {{0}};
    load_weights(r->weights, block, w);
    read_gradient(type, block, r, &gradient, 0);
    for (int y = 0, read = 0; y < r->dst_h; y++) {
        const int middle = y * stride;
        for (; read < r->h && read <= middle + 1; read++)
            read_source(type, block, r, &source, read);
        if (y + 1 < r->dst_h)
            read_gradient(type, block, r, &gradient, y + 1);
        const float *const here = ring_row(&gradient, y), *const below = ring_row(&gradient, y + 1);
        const float *const rows[RING] = {ring_row(&source, middle - 1), ring_row(&source, middle),
                                         ring_row(&source, middle + 1)};
        weights_row(block, stride, here, rows, count, diff_weights);
        aim(&finish, &source, block, r->w, middle);
        if (stride == 1) {
            const float *const around[RING] = {ring_row(&gradient, y - 1), here, below};
            source_row(type, block, r, around, w, &finish);
            continue;
        }
        source_row_strided(type, block, r, here, below, w, false, &finish);
        if (middle + 1 < r->h) {
            aim(&finish, &source, block, r->w, middle + 1);
            source_row_strided(type, block, r, here, below, w, true, &finish);
        }
    }
    for (int k = 0; k < TAPS; k++) {
        vector sum = vector_load(PRECISION_F32, r->diff_weights, (size_t)k * LANES, LANES);
        vector_store(PRECISION_F32, r->diff_weights, (size_t)k * LANES, LANES,
                     sum + diff_weights[k]);
    }
    if (r->sums) {
        memcpy(r->sums, &finish.sum, sizeof(vector));
        memcpy(r->sums + LANES, &finish.products, sizeof(vector));
    }
}

/* ---- the levels ---- */

#define BY_SHAPE(type, pass, r)                                                                    \
    do {                                                                                           \
        if ((r)->block == LANES && (r)->stride == 1)                                               \
            pass(type, LANES, 1, r);                                                               \
        else if ((r)->block == LANES)                                                              \
            pass(type, LANES, 2, r);                                                               \
        else if ((r)->stride == 1)                                                                 \
            pass(type, LANES / 2, 1, r);                                                           \
        else                                                                                       \
            pass(type, LANES / 2, 2, r);                                                           \
    } while (0)

/* Native conversion is for levels that may use it and blocks that come with them. */
#define BY_TYPE(level, pass, r)                                                                    \
    do {                                                                                           \
        if (CPU_BF16_##level && (r)->type == PRECISION_BF16 && cpu_bf16()) {                       \
            const enum precision native = CPU_BF16_##level ? BF16_NATIVE : PRECISION_BF16;         \
            BY_SHAPE(native, pass, r);                                                             \
        } else if ((r)->type == PRECISION_BF16) {                                                  \
            BY_SHAPE(PRECISION_BF16, pass, r);                                                     \
        } else {                                                                                   \
            BY_SHAPE(PRECISION_F32, pass, r);                                                      \
        }                                                                                          \
    } while (0)

#define DEFINE_LEVEL(level, features)                                                              \
    CPU_TARGET(features) static void forward_##level(const struct depthwise_run *r)                \
    {                                                                                              \
        BY_TYPE(level, forward, r);                                                                \
    }                                                                                              \
    CPU_TARGET(features) static void backward_##level(const struct depthwise_run *r)               \
    {                                                                                              \
        BY_TYPE(level, backward, r);                                                               \
    }
CPU_LEVELS(DEFINE_LEVEL)

const struct depthwise_kernels *depthwise_kernels(void)
{
    static const struct depthwise_kernels levels[] = {
#define LEVEL_ROW(level, features) {forward_##level, backward_##level},
        CPU_LEVELS(LEVEL_ROW)};
    return &levels[cpu_level()];
}
