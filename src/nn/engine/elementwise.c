/* elementwise.c - passes over maps that no convolution or batch norm could take in. */
#include "nn/engine/elementwise.h"

#include "base/cpu.h"
#include "base/random.h"
#include "nn/vector.h"

/* A piece of the map for one call; ends with a whole vector but for the last piece of all. */
enum { PIECE = 8192 };

struct piece {
    enum precision type;
    bool relu;
    int source_count;
    const void *const *sources, *gate;
    void *out;
    size_t from, to;
};

KERNEL_INLINE void sum_piece(enum precision type, const struct piece *p)
{
    for (size_t at = p->from; at < p->to; at += LANES) {
        int lanes = p->to - at < LANES ? (int)(p->to - at) : LANES;
        vector x = vector_load(type, p->sources[0], at, lanes);
        for (int i = 1; i < p->source_count; i++)
            x += vector_load(type, p->sources[i], at, lanes);
        if (p->relu)
            x = vector_relu(x);
        if (p->gate)
            x = vector_where_positive(vector_load(type, p->gate, at, lanes), x);
        vector_store(type, p->out, at, lanes, x);
    }
}

#define DEFINE_LEVEL(level, features)                                                              \
    CPU_TARGET(features) static void sum_##level(const struct piece *p)                            \
    {                                                                                              \
        if (CPU_BF16_##level && p->type == PRECISION_BF16 && cpu_bf16())                           \
            sum_piece(CPU_BF16_##level ? BF16_NATIVE : PRECISION_BF16, p);                         \
        else if (p->type == PRECISION_BF16)                                                        \
            sum_piece(PRECISION_BF16, p);                                                          \
        else                                                                                       \
            sum_piece(PRECISION_F32, p);                                                           \
    }
CPU_LEVELS(DEFINE_LEVEL)

typedef void piece_kernel(const struct piece *p);
static piece_kernel *const levels[] = {
#define LEVEL_ROW(level, features) sum_##level,
    CPU_LEVELS(LEVEL_ROW)};

void elementwise_run(const struct elementwise *what, const void *const *sources, const void *gate,
                     void *out)
{
    piece_kernel *kernel = levels[cpu_level()];
    const size_t count = tensor_count(&what->map);
#pragma omp parallel for schedule(static)
    for (size_t from = 0; from < count; from += PIECE) {
        size_t to = from + PIECE < count ? from + PIECE : count;
        kernel(&(struct piece){what->map.type, what->relu, what->source_count, sources, gate, out,
                               from, to});
    }
}

static void run_elementwise(const struct step *step, void *const *ptr)
{
    const struct elementwise *what = step->constants;
    elementwise_run(what, (const void *const *)ptr + 2, ptr[1], ptr[0]);
}

enum retort_status elementwise_step(struct builder *builder, const char *kind, const char *name,
                                    const struct elementwise *what, const int *sources, int gate,
                                    int out)
{
    int passes = what->source_count + 1 + (gate != NO_BUFFER);
    struct step_request request = {kind,        run_elementwise,
                                   what,        sizeof(*what),
                                   {out, gate}, 2 + what->source_count,
                                   0,           (double)passes * (double)tensor_bytes(&what->map)};
    for (int i = 0; i < what->source_count; i++)
        request.buffers[2 + i] = sources[i];
    return builder_step(builder, name, &request);
}

/* ---- dropout ---- */

void dropout_run(const struct dropout *what, const void *x, void *out)
{
    const size_t count = tensor_count(&what->map);
    const struct random_stream stream =
        random_stream(what->seed, RANDOM_DROPOUT, *what->step, what->layer);
    const float kept = (float)(1 / (1 - what->rate));
    const uint64_t limit = (uint64_t)(what->rate * 4294967296.0);
    const enum precision type = what->map.type;
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < count; at += LANES) {
        int lanes = count - at < LANES ? (int)(count - at) : LANES;
        uint32_t bits[LANES];
        for (int i = 0; i < LANES; i += 4)
            random_bits4(&stream, at + (size_t)i, bits + i);
        vector v = vector_load(type, x, at, lanes);
        for (int i = 0; i < LANES; i++)
            v[i] = bits[i] < limit ? 0 : v[i] * kept;
        vector_store(type, out, at, lanes, v);
    }
}

/* ---- option-A shortcut ---- */

/* Channels that lie in a row in one block of src and in one block of dst. */
struct span {
    int src_block, src_lane, dst_block, dst_lane, lanes;
};

static struct span next_span(const struct shortcut *what, int channel)
{
    int block = what->src.block, shift = (what->dst.c - what->src.c) / 2;
    int there = channel + shift;
    struct span span = {channel / block, channel % block, there / block, there % block, 0};
    int room = block - (span.src_lane > span.dst_lane ? span.src_lane : span.dst_lane);
    int left = what->src.c - channel;
    span.lanes = room < left ? room : left;
    return span;
}

/* Where a row of one block of one image begins, in numbers. */
static size_t row_at(const struct tensor *map, int image, int block, int y)
{
    int blocks = tensor_channels(map) / map->block;
    return (((size_t)image * blocks + block) * map->h + y) * map->w * map->block;
}

static size_t number_bytes(const struct tensor *map)
{
    return map->type == PRECISION_BF16 ? 2 : 4;
}

/* count pieces of `bytes` bytes, the places that far apart. */
KERNEL_INLINE void copy_pieces(char *to, size_t to_step, const char *from, size_t from_step,
                               size_t bytes, int count)
{
    for (int i = 0; i < count; i++, to += to_step, from += from_step)
        memcpy(to, from, bytes);
}

/* The usual numbers of bytes as constants, so that a piece is a load and a store. */
static void copy_row(char *to, size_t to_step, const char *from, size_t from_step, size_t bytes,
                     int count)
{
    if (bytes == 64)
        copy_pieces(to, to_step, from, from_step, 64, count);
    else if (bytes == 32)
        copy_pieces(to, to_step, from, from_step, 32, count);
    else if (bytes == 16)
        copy_pieces(to, to_step, from, from_step, 16, count);
    else
        copy_pieces(to, to_step, from, from_step, bytes, count);
}

/* The numbers that lie in this block of `to`, which is dst or, backward, diff_src: its row y, which
 * begins as zeros. */
static void fill_row(const struct shortcut *what, int image, int block, int y, const char *from,
                     char *row, bool backward)
{
    const struct tensor *map = backward ? &what->src : &what->dst;
    const size_t number = number_bytes(map);
    const size_t src_step = number * (size_t)(what->src.block * what->stride);
    const size_t dst_step = number * (size_t)what->dst.block;
    memset(row, 0, (size_t)map->w * (size_t)map->block * number);
    if (backward && y % what->stride)
        return;
    struct span span;
    for (int channel = 0; channel < what->src.c; channel += span.lanes) {
        span = next_span(what, channel);
        const size_t bytes = number * (size_t)span.lanes;
        const size_t src_lane = number * (size_t)span.src_lane;
        const size_t dst_lane = number * (size_t)span.dst_lane;
        if (backward && span.src_block == block)
            copy_row(row + src_lane, src_step,
                     from + dst_lane +
                         number * row_at(&what->dst, image, span.dst_block, y / what->stride),
                     dst_step, bytes, what->dst.w);
        else if (!backward && span.dst_block == block)
            copy_row(row + dst_lane, dst_step,
                     from + src_lane +
                         number * row_at(&what->src, image, span.src_block, y * what->stride),
                     src_step, bytes, what->dst.w);
    }
}

void shortcut_row(const struct shortcut *what, int image, int block, int y, const void *src,
                  void *row)
{
    fill_row(what, image, block, y, src, row, false);
}

void shortcut_diff_row(const struct shortcut *what, int image, int block, int y,
                       const void *diff_dst, void *row)
{
    fill_row(what, image, block, y, diff_dst, row, true);
}

/* Row by row: what is zeroed is filled while it is in the cache. */
static void fill(const struct shortcut *what, const char *from, char *to, bool backward)
{
    const struct tensor *map = backward ? &what->src : &what->dst;
    const int blocks = tensor_channels(map) / map->block;
#pragma omp parallel for collapse(2) schedule(static)
    for (int image = 0; image < map->n; image++)
        for (int block = 0; block < blocks; block++)
            for (int y = 0; y < map->h; y++)
                fill_row(what, image, block, y, from,
                         to + number_bytes(map) * row_at(map, image, block, y), backward);
}

void shortcut_forward(const struct shortcut *what, const void *src, void *dst)
{
    fill(what, src, dst, false);
}

void shortcut_backward(const struct shortcut *what, const void *diff_dst, void *diff_src)
{
    fill(what, diff_dst, diff_src, true);
}

static void run_shortcut(const struct step *step, void *const *ptr)
{
    shortcut_forward(step->constants, ptr[0], ptr[1]);
}

static void run_shortcut_backward(const struct step *step, void *const *ptr)
{
    shortcut_backward(step->constants, ptr[0], ptr[1]);
}

enum retort_status shortcut_step(struct builder *builder, const char *name,
                                 const struct shortcut *what, bool backward, int from, int to)
{
    return builder_step(builder, name,
                        &(struct step_request){backward ? "shortcut backward" : "shortcut",
                                               backward ? run_shortcut_backward : run_shortcut,
                                               what,
                                               sizeof(*what),
                                               {from, to},
                                               2,
                                               0,
                                               (double)tensor_bytes(&what->src)});
}
