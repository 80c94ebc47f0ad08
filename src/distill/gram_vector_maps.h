/* gram_vector_maps.h - part of gram_vector.h: vectors, layouts, pooling. */
#include "distill/gram_kernel.h"
#include "nn/bf16.h"

#define KERNEL_INLINE static inline __attribute__((always_inline))

enum { LANES = GRAM_LANES, BLOCK = LANES * LANES };

enum { PARTS = LANES / WIDTH }; /* vectors in a block's 16 channels */

typedef float vector __attribute__((vector_size(WIDTH * 4)));
typedef int32_t integers __attribute__((vector_size(WIDTH * 4)));

KERNEL_INLINE vector load(const float *from)
{
    vector x;
    memcpy(&x, from, sizeof(x));
    return x;
}

KERNEL_INLINE void store(float *to, vector x)
{
    memcpy(to, &x, sizeof(x));
}

/* yes where mask is set, else no. */
KERNEL_INLINE integers pick(integers mask, integers yes, integers no)
{
    return (yes & mask) | (no & ~mask);
}

/* ---- layouts ---- */

/* Numbers are converted CHUNK at a time: no more than the smaller block, no more than a vector. */
enum { CHUNK = WIDTH < 8 ? WIDTH : 8 };

typedef float chunk __attribute__((vector_size(CHUNK * 4)));
typedef uint32_t chunk_bits __attribute__((vector_size(CHUNK * 4)));
typedef uint16_t chunk_half __attribute__((vector_size(CHUNK * 2)));

/* bf16 to nearest, ties to even; NaN stays NaN. */
KERNEL_INLINE chunk_half narrow(chunk x)
{
    chunk_bits bits = (chunk_bits)x;
    chunk_bits rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    chunk_bits nan = bits >> 16 | 0x40;
    chunk_bits number = (chunk_bits)(x == x);
    return __builtin_convertvector((rounded & number) | (nan & ~number), chunk_half);
}

KERNEL_INLINE chunk load_chunk(enum precision type, const void *data, size_t at)
{
    if (type == PRECISION_BF16) {
        chunk_half half;
        memcpy(&half, (const uint16_t *)data + at, sizeof(half));
        return (chunk)(__builtin_convertvector(half, chunk_bits) << 16);
    }
    chunk x;
    memcpy(&x, (const float *)data + at, sizeof(x));
    return x;
}

KERNEL_INLINE void store_chunk(enum precision type, void *data, size_t at, chunk x)
{
    if (type == PRECISION_BF16) {
        chunk_half half = narrow(x);
        memcpy((uint16_t *)data + at, &half, sizeof(half));
    } else {
        memcpy((float *)data + at, &x, sizeof(x));
    }
}

KERNEL_INLINE float load_single(enum precision type, const void *data, size_t at)
{
    return type == PRECISION_BF16 ? bf16_to_float(((const uint16_t *)data)[at])
                                  : ((const float *)data)[at];
}

KERNEL_INLINE void store_single(enum precision type, void *data, size_t at, float x)
{
    if (type == PRECISION_BF16)
        ((uint16_t *)data)[at] = bf16_from_float(x);
    else
        ((float *)data)[at] = x;
}

/* The panel's place of channel c, position 0. */
#define PANEL_AT(panel, c, positions)                                                              \
    ((panel) + (size_t)((c) / LANES) * (positions)*LANES + (c) % LANES)

KERNEL_INLINE void load_layout(const struct tensor *map, int image, float *panel, const int block,
                               const enum precision type)
{
    const size_t positions = (size_t)map->h * (size_t)map->w;
    const int channels = tensor_channels(map);
    size_t at = (size_t)image * (size_t)channels * positions;
    for (int c = 0; c < channels; c += block) {
        float *to = PANEL_AT(panel, c, positions);
        for (size_t p = 0; p < positions; p++, to += LANES, at += (size_t)block) {
            if (block == 1)
                to[0] = load_single(type, map->data, at);
            for (int l = 0; l + CHUNK <= block; l += CHUNK) {
                chunk x = load_chunk(type, map->data, at + (size_t)l);
                memcpy(to + l, &x, sizeof(x));
            }
        }
    }
    for (int c = channels; c % LANES; c++) {
        float *to = PANEL_AT(panel, c, positions);
        for (size_t p = 0; p < positions; p++)
            to[p * LANES] = 0;
    }
}

KERNEL_INLINE void store_layout(const float *panel, const struct tensor *map, int image,
                                const bool add, const int block, const enum precision type)
{
    const size_t positions = (size_t)map->h * (size_t)map->w;
    const int channels = tensor_channels(map);
    size_t at = (size_t)image * (size_t)channels * positions;
    for (int c = 0; c < channels; c += block) {
        const float *from = PANEL_AT(panel, c, positions);
        for (size_t p = 0; p < positions; p++, from += LANES, at += (size_t)block) {
            if (block == 1)
                store_single(type, map->data, at,
                             add ? from[0] + load_single(type, map->data, at) : from[0]);
            for (int l = 0; l + CHUNK <= block; l += CHUNK) {
                chunk x;
                memcpy(&x, from + l, sizeof(x));
                if (add)
                    x += load_chunk(type, map->data, at + (size_t)l);
                store_chunk(type, map->data, at + (size_t)l, x);
            }
        }
    }
}

/* Makes a call with `block` and `type` constant for each layout there is. */
#define FOR_LAYOUT(map, function, ...)                                                             \
    do {                                                                                           \
        const bool half = (map)->type == PRECISION_BF16;                                           \
        if ((map)->block == 16 && half)                                                            \
            function(__VA_ARGS__, 16, PRECISION_BF16);                                             \
        else if ((map)->block == 16)                                                               \
            function(__VA_ARGS__, 16, PRECISION_F32);                                              \
        else if ((map)->block == 8 && half)                                                        \
            function(__VA_ARGS__, 8, PRECISION_BF16);                                              \
        else if ((map)->block == 8)                                                                \
            function(__VA_ARGS__, 8, PRECISION_F32);                                               \
        else if (half)                                                                             \
            function(__VA_ARGS__, 1, PRECISION_BF16);                                              \
        else                                                                                       \
            function(__VA_ARGS__, 1, PRECISION_F32);                                               \
    } while (0)

/* A blocked map lies as its panel does; with AVX-512 its numbers are converted by the processor. */
KERNEL_INLINE bool is_native(const struct tensor *map)
{
    return WIDTH == 16 && map->block == LANES && map->type == PRECISION_BF16 && cpu_bf16();
}

#if WIDTH == 16
KERNEL_INLINE void load_native(const struct tensor *map, int image, float *panel)
{
    const size_t count = tensor_count(map) / (size_t)map->n;
    const uint16_t *from = (const uint16_t *)map->data + count * (size_t)image;
    for (size_t i = 0; i < count; i += LANES) {
        bf16_halves halves;
        memcpy(&halves, from + i, sizeof(halves));
        store(panel + i, bf16_widen(halves));
    }
}

KERNEL_INLINE void store_native(const float *panel, const struct tensor *map, int image, bool add)
{
    const size_t count = tensor_count(map) / (size_t)map->n;
    uint16_t *to = (uint16_t *)map->data + count * (size_t)image;
    for (size_t i = 0; i < count; i += LANES) {
        vector x = load(panel + i);
        bf16_halves halves;
        if (add) {
            memcpy(&halves, to + i, sizeof(halves));
            x += bf16_widen(halves);
        }
        halves = bf16_narrow(x);
        memcpy(to + i, &halves, sizeof(halves));
    }
}
#else
#define load_native  load_map
#define store_native store_map
#endif

KERNEL_INLINE void load_map(const struct tensor *map, int image, float *panel)
{
    FOR_LAYOUT(map, load_layout, map, image, panel);
}

KERNEL_INLINE void store_map(const float *panel, const struct tensor *map, int image, bool add)
{
    if (add)
        FOR_LAYOUT(map, store_layout, panel, map, image, true);
    else
        FOR_LAYOUT(map, store_layout, panel, map, image, false);
}

#undef PANEL_AT

/* ---- pooling ---- */

/* One vector of one window: `from` is its first number, lines of the map are `line` apart. */
KERNEL_INLINE void max_window(const float *from, size_t line, int kh, int kw, float *dst,
                              int32_t *chosen)
{
    vector largest = load(from);
    integers place = {0};
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++) {
            vector here = load(from + (size_t)y * line + (size_t)x * LANES);
            integers larger = here > largest;
            largest = (vector)pick(larger, (integers)here, (integers)largest);
            place = pick(larger, y * kw + x - (integers){0}, place);
        }
    store(dst, largest);
    if (chosen)
        memcpy(chosen, &place, sizeof(place));
}

KERNEL_INLINE void unmax_window(const float *diff_dst, const int32_t *chosen, size_t line, int kh,
                                int kw, float *to, bool add)
{
    integers diff = (integers)load(diff_dst), place;
    memcpy(&place, chosen, sizeof(place));
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++) {
            float *at = to + (size_t)y * line + (size_t)x * LANES;
            vector here = (vector)(diff & (place == y * kw + x));
            store(at, add ? here + load(at) : here);
        }
}

KERNEL_INLINE void avg_window(const float *from, size_t line, int kh, int kw, float *dst)
{
    vector sum = {0};
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++)
            sum += load(from + (size_t)y * line + (size_t)x * LANES);
    store(dst, sum * (1.0f / (float)(kh * kw)));
}

KERNEL_INLINE void unavg_window(const float *diff_dst, size_t line, int kh, int kw, float *to,
                                bool add)
{
    vector diff = load(diff_dst) * (1.0f / (float)(kh * kw));
    for (int y = 0; y < kh; y++)
        for (int x = 0; x < kw; x++) {
            float *at = to + (size_t)y * line + (size_t)x * LANES;
            store(at, add ? diff + load(at) : diff);
        }
}

/* chosen NULL: not wanted. */
KERNEL_INLINE void pool_windows(enum gram_pool kind, const struct gram_window *window,
                                const float *src, float *dst, int32_t *chosen, int kh, int kw)
{
    const size_t line = (size_t)kw * (size_t)window->w * LANES;
    for (int row = 0; row < window->blocks * window->h; row++, src += (size_t)(kh - 1) * line)
        for (int column = 0; column < window->w; column++, src += (size_t)(kw - 1) * LANES)
            for (int part = 0; part < PARTS; part++, src += WIDTH, dst += WIDTH) {
                if (kind == GRAM_AVG)
                    avg_window(src, line, kh, kw, dst);
                else
                    max_window(src, line, kh, kw, dst, chosen);
                if (chosen)
                    chosen += WIDTH;
            }
}

KERNEL_INLINE void unpool_windows(enum gram_pool kind, const struct gram_window *window,
                                  const float *diff_dst, const int32_t *chosen, float *to, bool add,
                                  int kh, int kw)
{
    const size_t line = (size_t)kw * (size_t)window->w * LANES;
    for (int row = 0; row < window->blocks * window->h; row++, to += (size_t)(kh - 1) * line)
        for (int column = 0; column < window->w; column++, to += (size_t)(kw - 1) * LANES)
            for (int part = 0; part < PARTS; part++, to += WIDTH, diff_dst += WIDTH)
                if (kind == GRAM_AVG) {
                    unavg_window(diff_dst, line, kh, kw, to, add);
                } else {
                    unmax_window(diff_dst, chosen, line, kh, kw, to, add);
                    chosen += WIDTH;
                }
}

/* Windows of 2 x 2 are nearly all there are: their loops are unrolled. */
KERNEL_INLINE void pool(enum gram_pool kind, const struct gram_window *window, const float *src,
                        float *dst, int32_t *chosen)
{
    const bool two = window->kh == 2 && window->kw == 2;
    if (two && chosen)
        pool_windows(kind, window, src, dst, chosen, 2, 2);
    else if (two)
        pool_windows(kind, window, src, dst, NULL, 2, 2);
    else
        pool_windows(kind, window, src, dst, chosen, window->kh, window->kw);
}

KERNEL_INLINE void unpool(enum gram_pool kind, const struct gram_window *window,
                          const float *diff_dst, const int32_t *chosen, float *diff_src, bool add)
{
    const bool two = window->kh == 2 && window->kw == 2;
    if (two && add)
        unpool_windows(kind, window, diff_dst, chosen, diff_src, true, 2, 2);
    else if (two)
        unpool_windows(kind, window, diff_dst, chosen, diff_src, false, 2, 2);
    else
        unpool_windows(kind, window, diff_dst, chosen, diff_src, add, window->kh, window->kw);
}
