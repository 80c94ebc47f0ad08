/* augment.h - one image from bytes to the floats that a network sees.
 *
 * A window of the image's size is cut out of the image with a reflected border, mirrored left to
 * right or not, and normalised: (value / 255 - mean) / std. */
#ifndef DATA_AUGMENT_H
#define DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"
#include "base/status.h"

struct augment_options {
    int channels, height, width;
    bool flip;
    int crop;                /* pixels of border; less than height and width */
    const float *mean, *std; /* per channel */
};

struct augment {
    int channels, height, width, crop;
    bool flip;
    float *values;    /* (channels, 256): what each byte becomes */
    uint16_t *rows;   /* (height + 2 crop): the image's row that the bordered image shows */
    uint16_t *plain;  /* (width + 2 crop): the same for columns */
    uint16_t *mirror; /* plain from its end to its start */
};

enum retort_status augment_init(struct augment *augment, const struct augment_options *options);
/* Accepts a zeroed struct. */
void augment_release(struct augment *augment);

/* Whether an image is mirrored, where options.flip allows it. */
enum augment_mirror { AUGMENT_BY_CHANCE, AUGMENT_PLAIN, AUGMENT_MIRRORED };

/* src [in] (channels, height, width), dst [out] the same in floats. The stream decides on window
 * and, by chance, on the mirror; without crop and flip it is not used. Thread-safe. */
void augment_image(const struct augment *augment, const struct random_stream *stream,
                   enum augment_mirror mirror, const uint8_t *src, float *dst);

#endif
