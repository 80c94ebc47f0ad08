/* mix.h - two images of a batch made into two mixtures: what changes labels along with images.
 *
 * mixup  (Zhang et al. 2018)  both become weighted means of the two: share l of the own one
 * cutmix (Yun et al. 2019)    a rectangle of share 1 - l changes places between them
 *
 * l ~ Beta(alpha, alpha). The loss of a mixture is the mean of those of the two labels with the
 * same shares. Both images of a pair are used, so that every image of an epoch counts as much as
 * without mixing. */
#ifndef DATA_MIX_H
#define DATA_MIX_H

#include <stdbool.h>

#include "base/random.h"

struct mix {
    int channels, height, width;
    double mixup, cutmix; /* alpha, more than 0 and at most 4; 0: is not done. Both: one of them,
                             by chance */
};

static inline bool mix_wanted(const struct mix *mix)
{
    return mix->mixup > 0 || mix->cutmix > 0;
}

/* a, b [in, out] (channels, height, width). The stream decides on all that is random. Gives the
 * share that each keeps of itself. Thread-safe. */
float mix_pair(const struct mix *mix, const struct random_stream *stream, float *a, float *b);

#endif
