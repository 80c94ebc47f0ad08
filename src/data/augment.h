/* augment.h - one image from bytes to the floats that a network sees.
 *
 * The image is turned about its middle, a window of its size is cut out of it with a border around
 * it, the window is mirrored left to right or not, its colours are changed, it is normalised:
 * (value / 255 - mean) / std, and a square of it is set to zero, which is the mean. Each of these
 * only if asked for. What changes labels as well (mixing images) is not done here: it needs the
 * batch. */
#ifndef DATA_AUGMENT_H
#define DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "base/status.h"

enum { AUGMENT_CHANNELS = 4 };

struct augment_options {
    int channels, height, width;
    bool flip;
    int crop;         /* pixels of border; less than height and width */
    bool zero_border; /* black; else the image is reflected */
    double rotation;  /* degrees to either side, at most; 0 to 180 */
    int cutout;       /* side of the square that is set to zero; 0: none */
    double jitter;    /* brightness, contrast and saturation: factors 1 - j to 1 + j; 0 to 1 */
    const float *mean, *std; /* per channel */
};

struct augment {
    int channels, height, width, crop, cutout;
    bool flip, zero_border;
    double rotation, jitter;
    float *values;    /* (channels, 256): what each byte becomes: its final value, or, with jitter,
                         value / 255 */
    uint16_t *rows;   /* (height + 2 crop): the image's row that the bordered image shows */
    uint16_t *plain;  /* (width + 2 crop): the same for columns */
    uint16_t *mirror; /* plain from its end to its start */
    float mean[AUGMENT_CHANNELS], scale[AUGMENT_CHANNELS]; /* 1 / std */
};

enum retort_status augment_init(struct augment *augment, const struct augment_options *options);
/* Accepts a zeroed struct. */
void augment_release(struct augment *augment);

/* Whether an image is mirrored, where options.flip allows it. */
enum augment_mirror { AUGMENT_BY_CHANCE, AUGMENT_PLAIN, AUGMENT_MIRRORED };

/* src [in] (channels, height, width), dst [out] the same in floats. The stream decides on all
 * that is random. Thread-safe. */
void augment_image(const struct augment *augment, const struct random_stream *stream,
                   enum augment_mirror mirror, const uint8_t *src, float *dst);

#endif
