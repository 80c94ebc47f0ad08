/* mix.c - shares, means and rectangles. */
#include "data/mix.h"

#include <math.h>
#include <stddef.h>

/* Numbers of a pair's stream: which kind, the rectangle's middle, then pairs for the share. */
enum { WHICH, MIDDLE_Y, MIDDLE_X, SHARE };

/* Uniform in (0, 1). */
static double uniform(const struct random_stream *stream, uint64_t index)
{
    return ((double)random_bits(stream, index) + 0.5) / 4294967296.0;
}

/* Beta(alpha, alpha) by Joehnk's rejection (1964): one try in 70 is taken at alpha 4, one in two at
 * 1. */
static double draw_share(const struct random_stream *stream, double alpha)
{
    for (uint64_t i = SHARE;; i += 2) {
        const double x = pow(uniform(stream, i), 1 / alpha);
        const double y = pow(uniform(stream, i + 1), 1 / alpha);
        if (x + y <= 1 && x + y > 0)
            return x / (x + y);
    }
}

static void mean_of_both(float share, size_t count, float *a, float *b)
{
    for (size_t i = 0; i < count; i++) {
        const float x = a[i], y = b[i];
        a[i] = share * x + (1 - share) * y;
        b[i] = share * y + (1 - share) * x;
    }
}

/* Where a side of the rectangle begins and ends: half to either side of the middle, cut at the
 * image's edges. */
static void find_side(int size, double part, double middle, int *from, int *to)
{
    const int half = (int)(size * part / 2), at = (int)(size * middle);
    *from = at - half < 0 ? 0 : at - half;
    *to = at + half > size ? size : at + half;
}

/* The share of the image that stays. */
static float exchange(const struct mix *mix, const struct random_stream *stream, double share,
                      float *a, float *b)
{
    const double side = sqrt(1 - share);
    int top, bottom, left, right;
    find_side(mix->height, side, uniform(stream, MIDDLE_Y), &top, &bottom);
    find_side(mix->width, side, uniform(stream, MIDDLE_X), &left, &right);
    for (int c = 0; c < mix->channels; c++)
        for (int y = top; y < bottom; y++)
            for (int x = left; x < right; x++) {
                const size_t at =
                    ((size_t)c * (size_t)mix->height + (size_t)y) * (size_t)mix->width + (size_t)x;
                const float kept = a[at];
                a[at] = b[at];
                b[at] = kept;
            }
    return 1 - (float)((bottom - top) * (right - left)) / (float)(mix->height * mix->width);
}

float mix_pair(const struct mix *mix, const struct random_stream *stream, float *a, float *b)
{
    const bool either = mix->mixup > 0 && mix->cutmix > 0;
    const bool cuts = either ? random_below(stream, WHICH, 2) : mix->cutmix > 0;
    const double share = draw_share(stream, cuts ? mix->cutmix : mix->mixup);
    if (cuts)
        return exchange(mix, stream, share, a, b);
    mean_of_both((float)share, (size_t)mix->channels * (size_t)mix->height * (size_t)mix->width, a,
                 b);
    return (float)share;
}
