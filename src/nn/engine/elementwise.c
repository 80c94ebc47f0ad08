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
        if (p->type == PRECISION_BF16)                                                             \
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

static size_t place(const struct tensor *map, int image, int block, int y, int x, int lane)
{
    int blocks = tensor_channels(map) / map->block;
    return ((((size_t)image * blocks + block) * map->h + y) * map->w + x) * map->block + lane;
}

static size_t number_bytes(const struct tensor *map)
{
    return map->type == PRECISION_BF16 ? 2 : 4;
}

/* Copy one image's channels between the small map's positions and the large one's, either way. */
static void copy_image(const struct shortcut *what, int image, char *src, char *dst, bool backward)
{
    const size_t number = number_bytes(&what->src);
    for (int channel = 0; channel < what->src.c;) {
        struct span span = next_span(what, channel);
        for (int y = 0; y < what->dst.h; y++)
            for (int x = 0; x < what->dst.w; x++) {
                char *s = src + number * place(&what->src, image, span.src_block, y * what->stride,
                                               x * what->stride, span.src_lane);
                char *d =
                    dst + number * place(&what->dst, image, span.dst_block, y, x, span.dst_lane);
                memcpy(backward ? s : d, backward ? d : s, number * (size_t)span.lanes);
            }
        channel += span.lanes;
    }
}

static void image_zero(const struct tensor *map, int image, char *data)
{
    size_t bytes = tensor_count(map) / (size_t)map->n * number_bytes(map);
    memset(data + (size_t)image * bytes, 0, bytes);
}

void shortcut_forward(const struct shortcut *what, const void *src, void *dst)
{
#pragma omp parallel for schedule(static)
    for (int image = 0; image < what->src.n; image++) {
        image_zero(&what->dst, image, dst);
        copy_image(what, image, (char *)src, dst, false);
    }
}

void shortcut_backward(const struct shortcut *what, const void *diff_dst, void *diff_src)
{
#pragma omp parallel for schedule(static)
    for (int image = 0; image < what->src.n; image++) {
        image_zero(&what->src, image, diff_src);
        copy_image(what, image, diff_src, (char *)diff_dst, true);
    }
}
