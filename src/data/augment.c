/* augment.c - crop, flip and normalise in one pass over the image.
 *
 * The bordered image is never made: tables say which pixel of the image it shows, a window is a
 * place in these tables, and a flipped window is a place in the table of columns written backwards.
 * Normalisation is a table of the 256 values that a byte can become. */
#include "data/augment.h"

#include <limits.h>
#include <stdlib.h>

#include "base/memory.h"

enum { BYTE_VALUES = UCHAR_MAX + 1 };

/* The index that position i, counted from `border` before the start, shows: ... 2 1 0 1 2 ... */
static int reflect(int i, int border, int size)
{
    int index = abs(i - border);
    return index < size ? index : 2 * (size - 1) - index;
}

static enum retort_status make_tables(struct augment *made)
{
    int rows = made->height + 2 * made->crop, columns = made->width + 2 * made->crop;
    void *values = NULL, *indices = NULL;
    TRY(memory_zeroed((size_t)made->channels * BYTE_VALUES, sizeof(*made->values), &values));
    made->values = values;
    TRY(memory_zeroed((size_t)(rows + 2 * columns), sizeof(*made->rows), &indices));
    made->rows = indices;
    made->plain = made->rows + rows;
    made->mirror = made->plain + columns;
    for (int i = 0; i < rows; i++)
        made->rows[i] = (uint16_t)reflect(i, made->crop, made->height);
    for (int i = 0; i < columns; i++) {
        made->plain[i] = (uint16_t)reflect(i, made->crop, made->width);
        made->mirror[columns - 1 - i] = made->plain[i];
    }
    return RETORT_OK;
}

static enum retort_status check_options(const struct augment_options *options)
{
    int side = options->height < options->width ? options->height : options->width;
    if (options->crop < 0 || options->crop >= side)
        return fail(RETORT_INVALID, "crop: %d pixels found, 0 to %d wanted for images of %dx%d",
                    options->crop, side - 1, options->height, options->width);
    if (options->height > UINT16_MAX || options->width > UINT16_MAX)
        return fail(RETORT_INVALID, "images of %dx%d found, at most %d wanted", options->height,
                    options->width, UINT16_MAX);
    for (int c = 0; c < options->channels; c++)
        if (!(options->std[c] > 0))
            return fail(RETORT_INVALID,
                        "channel %d: standard deviation %g found, more than 0 "
                        "wanted",
                        c, (double)options->std[c]);
    return RETORT_OK;
}

enum retort_status augment_init(struct augment *augment, const struct augment_options *options)
{
    TRY(check_options(options));
    struct augment made = {.channels = options->channels,
                           .height = options->height,
                           .width = options->width,
                           .crop = options->crop,
                           .flip = options->flip};
    enum retort_status status = make_tables(&made);
    if (status != RETORT_OK) {
        augment_release(&made);
        return status;
    }
    for (int c = 0; c < made.channels; c++)
        for (int v = 0; v < BYTE_VALUES; v++)
            made.values[c * BYTE_VALUES + v] =
                (float)((v / 255.0 - (double)options->mean[c]) / (double)options->std[c]);
    *augment = made;
    return RETORT_OK;
}

void augment_release(struct augment *augment)
{
    free(augment->values);
    free(augment->rows);
    *augment = (struct augment){0};
}

/* bits scaled to [0, limit); the bias is below limit / 2^32. */
static int scale(uint32_t bits, int limit)
{
    return (int)((uint64_t)bits * (uint64_t)limit >> 32);
}

static void normalise_plane(const struct augment *augment, const uint16_t *rows,
                            const uint16_t *columns, const float *restrict values,
                            const uint8_t *restrict src, float *restrict dst)
{
    for (int y = 0; y < augment->height; y++, dst += augment->width) {
        const uint8_t *row = src + (size_t)rows[y] * (size_t)augment->width;
        for (int x = 0; x < augment->width; x++)
            dst[x] = values[row[columns[x]]];
    }
}

void augment_image(const struct augment *augment, const struct random_stream *stream,
                   enum augment_mirror mirror, const uint8_t *src, float *dst)
{
    int top = augment->crop, left = augment->crop;
    bool flip = false;
    if (augment->crop > 0 || augment->flip) {
        uint32_t bits[4];
        random_bits4(stream, 0, bits);
        bool mirrored =
            mirror == AUGMENT_BY_CHANCE ? scale(bits[0], 2) : mirror == AUGMENT_MIRRORED;
        flip = augment->flip && mirrored;
        top = scale(bits[1], 2 * augment->crop + 1);
        left = scale(bits[2], 2 * augment->crop + 1);
    }
    const uint16_t *columns =
        flip ? augment->mirror + 2 * augment->crop - left : augment->plain + left;
    size_t plane = (size_t)augment->height * (size_t)augment->width;
    for (int c = 0; c < augment->channels; c++)
        normalise_plane(augment, augment->rows + top, columns, augment->values + c * BYTE_VALUES,
                        src + (size_t)c * plane, dst + (size_t)c * plane);
}
