/* winograd.h - 3x3 convolutions of stride 1 with a quarter of the multiplications.
 *
 * F(4x4, 3x3) of Lavin and Gray 2016 (arXiv:1509.09308): 4x4 outputs need a tile of 6x6 inputs.
 * Tile and kernel are taken to a space of 36 numbers, in which convolving is multiplying number by
 * number; over channels that makes 36 matrix products of tiles x ic by ic x oc:
 *
 *     Y = A^T [ (G g G^T) . (B^T d B) ] A                                        (equation 8)
 *
 * The gradients are the transposes of the same maps. That of the source is the same pass with
 * kernels turned by 180 degrees and ic, oc exchanged; that of the weights is
 * G^T [ sum over tiles (B^T d B) . (A dY A^T) ] G.
 *
 * The points of interpolation are 0, +-2/3, +-3/2 and infinity, not the customary 0, +-1, +-2: the
 * error is 2.5 times smaller (Barabasz et al. 2018, arXiv:1803.10986, on the choice of points) and
 * about twice that of a plain sum in f32.
 *
 * Maps are blocked, f32 or bf16; everything in between is f32, so bf16 loses nothing here but its
 * rounding at the end. Weights lie as (oc / block, ic / block, 3, 3, block of ic, block of oc), the
 * padding zero. Results do not depend on the number of threads, but for the gradients of biases and
 * of weights of few channels, whose sums are taken thread by thread. */
#ifndef ENGINE_WINOGRAD_H
#define ENGINE_WINOGRAD_H

#include <stdbool.h>
#include <stddef.h>

#include "nn/tensor.h"

struct shortcut; /* elementwise.h */

struct winograd {
    enum precision type;
    int n, ic, oc, h, w; /* zeros of width 1 around: both maps are h x w */
    int block, threads;
    const struct shortcut *residual_view; /* forward: what it makes of the residual is added; NULL:
                                             the residual itself */
};

/* Is it there for this machine, and does it save work on maps of this size? */
bool winograd_fits(const struct winograd *what);

/* Floats of transformed weights, and of scratch for either pass. */
size_t winograd_weights_count(const struct winograd *what);
size_t winograd_forward_scratch(const struct winograd *what);
size_t winograd_backward_scratch(const struct winograd *what);

/* Transformed weights u [out] from weights [in]. Turned: for the gradient of the source, whose
 * `what` has the convolution's oc as its ic; the weights lie as the convolution has them. */
void winograd_weights(const struct winograd *what, const float *weights, float *u);
void winograd_weights_turned(const struct winograd *what, const float *weights, float *u);

struct winograd_forward {
    const void *src;      /* [in] */
    const float *u;       /* [in] */
    const float *bias;    /* [in] padded; NULL: none */
    const void *residual; /* [in] is added; may be dst; NULL: none */
    bool relu;            /* last */
    void *dst;            /* [out] */
    float *scratch;       /* [tmp] */
};
void winograd_forward(const struct winograd *what, const struct winograd_forward *data);

struct winograd_backward {
    const void *src, *diff_dst; /* [in] */
    float *diff_weights;        /* [out] */
    float *diff_bias;           /* [out] padded; NULL: not wanted */
    float *scratch;             /* [tmp] */
};
void winograd_backward_weights(const struct winograd *what, const struct winograd_backward *data);

#endif
