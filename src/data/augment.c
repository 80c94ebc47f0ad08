/* augment.c - geometry first, from bytes to floats in one pass; then colours; then the square.
 *
 * Without rotation the bordered image is never made: tables say which pixel of the image it shows,
 * a window is a place in these tables, and a flipped window is a place in the table of columns
 * written backwards. With rotation each pixel of the window is a point between four pixels of the
 * image. Normalisation is a table of the 256 values that a byte can become; it commutes with taking
 * means of neighbours, so only a change of colours needs a pass of its own. */
#include "data/augment.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

enum { BYTE_VALUES = UCHAR_MAX + 1, OUTSIDE = UINT16_MAX };

/* The index that position i, counted from `border` before the start, shows: ... 2 1 0 1 2 ... */
static int reflect(int i, int border, int size)
{
    int index = abs(i - border);
    return index < size ? index : 2 * (size - 1) - index;
}

static uint16_t find_index(const struct augment *augment, int i, int size)
{
    bool outside = i < augment->crop || i >= augment->crop + size;
    return augment->zero_border && outside ? OUTSIDE : (uint16_t)reflect(i, augment->crop, size);
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
        made->rows[i] = find_index(made, i, made->height);
    for (int i = 0; i < columns; i++) {
        made->plain[i] = find_index(made, i, made->width);
        made->mirror[columns - 1 - i] = made->plain[i];
    }
    return RETORT_OK;
}

static enum retort_status check_shape(const struct augment_options *options)
{
    int side = options->height < options->width ? options->height : options->width;
    if (options->crop < 0 || options->crop >= side)
        return fail(RETORT_INVALID, "crop: %d pixels found, 0 to %d wanted for images of %dx%d",
                    options->crop, side - 1, options->height, options->width);
    if (options->height >= OUTSIDE || options->width >= OUTSIDE)
        return fail(RETORT_INVALID, "images of %dx%d found, less than %d wanted", options->height,
                    options->width, OUTSIDE);
    if (options->cutout < 0 || options->cutout > side)
        return fail(RETORT_INVALID, "cutout: %d pixels found, 0 to %d wanted for images of %dx%d",
                    options->cutout, side, options->height, options->width);
    return RETORT_OK;
}

static enum retort_status check_options(const struct augment_options *options)
{
    TRY(check_shape(options));
    if (!(options->rotation >= 0 && options->rotation <= 180))
        return fail(RETORT_INVALID, "rotation: %g degrees found, 0 to 180 wanted",
                    options->rotation);
    if (!(options->jitter >= 0 && options->jitter <= 1))
        return fail(RETORT_INVALID, "jitter: %g found, 0 to 1 wanted", options->jitter);
    for (int c = 0; c < options->channels; c++)
        if (!(options->std[c] > 0))
            return fail(RETORT_INVALID,
                        "channel %d: standard deviation %g found, more than 0 "
                        "wanted",
                        c, (double)options->std[c]);
    return RETORT_OK;
}

static void fill_values(struct augment *made, const struct augment_options *options)
{
    for (int c = 0; c < made->channels; c++) {
        made->mean[c] = options->mean[c];
        made->scale[c] = 1 / options->std[c];
        for (int v = 0; v < BYTE_VALUES; v++) {
            double plain = v / 255.0;
            double normal = (plain - (double)options->mean[c]) / (double)options->std[c];
            made->values[c * BYTE_VALUES + v] = (float)(made->jitter > 0 ? plain : normal);
        }
    }
}

enum retort_status augment_init(struct augment *augment, const struct augment_options *options)
{
    TRY(check_options(options));
    struct augment made = {.channels = options->channels,
                           .height = options->height,
                           .width = options->width,
                           .crop = options->crop,
                           .cutout = options->cutout,
                           .flip = options->flip,
                           .zero_border = options->zero_border,
                           .rotation = options->rotation,
                           .jitter = options->jitter};
    enum retort_status status = make_tables(&made);
    if (status != RETORT_OK) {
        augment_release(&made);
        return status;
    }
    fill_values(&made, options);
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

/* bits scaled to [-most, most). */
static double spread(uint32_t bits, double most)
{
    return (bits * 0x1p-31 - 1) * most;
}

/* ---- geometry ---- */

/* The window: which place of the bordered image it begins at, whether it is mirrored, how far the
 * image is turned. */
struct window {
    int top, left;
    bool flip;
    double angle; /* radians */
};

static struct window choose_window(const struct augment *augment,
                                   const struct random_stream *stream, enum augment_mirror mirror)
{
    struct window window = {.top = augment->crop, .left = augment->crop};
    if (augment->crop == 0 && !augment->flip && !(augment->rotation > 0))
        return window;
    uint32_t bits[4];
    random_bits4(stream, 0, bits);
    bool mirrored = mirror == AUGMENT_BY_CHANCE ? scale(bits[0], 2) : mirror == AUGMENT_MIRRORED;
    window.flip = augment->flip && mirrored;
    window.top = scale(bits[1], 2 * augment->crop + 1);
    window.left = scale(bits[2], 2 * augment->crop + 1);
    window.angle = spread(bits[3], augment->rotation) * (M_PI / 180);
    return window;
}

static void copy_plane(const struct augment *augment, const uint16_t *rows, const uint16_t *columns,
                       const float *restrict values, const uint8_t *restrict src,
                       float *restrict dst)
{
    for (int y = 0; y < augment->height; y++, dst += augment->width) {
        const uint8_t *row = src + (size_t)rows[y] * (size_t)augment->width;
        for (int x = 0; x < augment->width; x++)
            dst[x] = values[row[columns[x]]];
    }
}

/* The same where the border is black. */
static void copy_plane_in_black(const struct augment *augment, const uint16_t *rows,
                                const uint16_t *columns, const float *restrict values,
                                const uint8_t *restrict src, float *restrict dst)
{
    for (int y = 0; y < augment->height; y++, dst += augment->width) {
        bool outside = rows[y] == OUTSIDE;
        const uint8_t *row = src + (outside ? 0 : (size_t)rows[y] * (size_t)augment->width);
        for (int x = 0; x < augment->width; x++)
            dst[x] = values[outside || columns[x] == OUTSIDE ? 0 : row[columns[x]]];
    }
}

static void cut_window(const struct augment *augment, const struct window *window,
                       const uint8_t *src, float *dst)
{
    const uint16_t *rows = augment->rows + window->top;
    const uint16_t *columns = window->flip ? augment->mirror + 2 * augment->crop - window->left
                                           : augment->plain + window->left;
    size_t plane = (size_t)augment->height * (size_t)augment->width;
    for (int c = 0; c < augment->channels; c++)
        (augment->zero_border ? copy_plane_in_black : copy_plane)(
            augment, rows, columns, augment->values + c * BYTE_VALUES, src + (size_t)c * plane,
            dst + (size_t)c * plane);
}

/* Any index of an image that is reflected without end; -1: black. */
static int wrap(const struct augment *augment, int i, int size)
{
    if (i >= 0 && i < size)
        return i;
    if (augment->zero_border)
        return -1;
    if (size == 1)
        return 0;
    int period = 2 * (size - 1), rest = i % period;
    rest = rest < 0 ? rest + period : rest;
    return rest < size ? rest : period - rest;
}

/* Four pixels and their shares. */
struct point {
    int offsets[4]; /* in a plane; -1: black */
    float weights[4];
};

static struct point find_point(const struct augment *augment, double y, double x)
{
    int top = (int)floor(y), left = (int)floor(x);
    float down = (float)(y - top), right = (float)(x - left);
    const struct point point = {.weights = {(1 - down) * (1 - right), (1 - down) * right,
                                            down * (1 - right), down * right}};
    struct point found = point;
    for (int k = 0; k < 4; k++) {
        int row = wrap(augment, top + k / 2, augment->height);
        int column = wrap(augment, left + k % 2, augment->width);
        found.offsets[k] = row < 0 || column < 0 ? -1 : row * augment->width + column;
    }
    return found;
}

static void turn_window(const struct augment *augment, const struct window *window,
                        const uint8_t *src, float *dst)
{
    int height = augment->height, width = augment->width;
    double sine = sin(window->angle), cosine = cos(window->angle);
    double middle_y = (height - 1) / 2.0, middle_x = (width - 1) / 2.0;
    size_t plane = (size_t)height * (size_t)width;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, dst++) {
            int from = window->flip ? width - 1 - x : x;
            double down = y + window->top - augment->crop - middle_y;
            double right = from + window->left - augment->crop - middle_x;
            struct point point = find_point(augment, middle_y + cosine * down - sine * right,
                                            middle_x + sine * down + cosine * right);
            for (int c = 0; c < augment->channels; c++) {
                const float *values = augment->values + c * BYTE_VALUES;
                const uint8_t *pixels = src + (size_t)c * plane;
                float sum = 0;
                for (int k = 0; k < 4; k++)
                    sum += point.weights[k] *
                           values[point.offsets[k] < 0 ? 0 : pixels[point.offsets[k]]];
                dst[(size_t)c * plane] = sum;
            }
        }
}

/* ---- colours ---- */

static float clamp(float value)
{
    return value < 0 ? 0 : value > 1 ? 1 : value;
}

/* How bright a pixel is: ITU-R BT.601 for three channels, else the mean. */
static float find_grey(const struct augment *augment, const float *pixel, size_t plane)
{
    if (augment->channels == 3)
        return 0.299f * pixel[0] + 0.587f * pixel[plane] + 0.114f * pixel[2 * plane];
    float sum = 0;
    for (int c = 0; c < augment->channels; c++)
        sum += pixel[(size_t)c * plane];
    return sum / (float)augment->channels;
}

/* Brightness times b; differences to the image's mean grey times c; to the pixel's own times s. */
static void change_colours(const struct augment *augment, const float factors[3], float *image)
{
    size_t plane = (size_t)augment->height * (size_t)augment->width;
    size_t all = plane * (size_t)augment->channels;
    double sum = 0;
    for (size_t i = 0; i < all; i++)
        image[i] = clamp(image[i] * factors[0]);
    for (size_t i = 0; i < plane; i++)
        sum += (double)find_grey(augment, image + i, plane);
    float middle = (float)(sum / (double)plane);
    for (size_t i = 0; i < all; i++)
        image[i] = clamp(middle + (image[i] - middle) * factors[1]);
    for (size_t i = 0; i < plane; i++) {
        float grey = find_grey(augment, image + i, plane);
        for (int c = 0; c < augment->channels; c++) {
            float *value = image + (size_t)c * plane + i;
            *value =
                (clamp(grey + (*value - grey) * factors[2]) - augment->mean[c]) * augment->scale[c];
        }
    }
}

/* ---- the square ---- */

/* Its middle may be any pixel; what lies outside of the image is lost (DeVries and Taylor, 2017).
 */
static void cut_out(const struct augment *augment, uint32_t bits_y, uint32_t bits_x, float *image)
{
    int top = scale(bits_y, augment->height) - augment->cutout / 2;
    int left = scale(bits_x, augment->width) - augment->cutout / 2;
    int bottom = top + augment->cutout, right = left + augment->cutout;
    top = top < 0 ? 0 : top;
    left = left < 0 ? 0 : left;
    bottom = bottom > augment->height ? augment->height : bottom;
    right = right > augment->width ? augment->width : right;
    for (int c = 0; c < augment->channels; c++)
        for (int y = top; y < bottom; y++) {
            float *row =
                image + ((size_t)c * (size_t)augment->height + (size_t)y) * (size_t)augment->width;
            for (int x = left; x < right; x++)
                row[x] = 0;
        }
}

void augment_image(const struct augment *augment, const struct random_stream *stream,
                   enum augment_mirror mirror, const uint8_t *src, float *dst)
{
    const struct window window = choose_window(augment, stream, mirror);
    uint32_t bits[4];
    if (augment->rotation > 0)
        turn_window(augment, &window, src, dst);
    else
        cut_window(augment, &window, src, dst);
    if (augment->jitter > 0) {
        random_bits4(stream, 1, bits);
        float factors[3];
        for (int i = 0; i < 3; i++)
            factors[i] = (float)(1 + spread(bits[i], augment->jitter));
        change_colours(augment, factors, dst);
    }
    if (augment->cutout > 0) {
        random_bits4(stream, 2, bits);
        cut_out(augment, bits[0], bits[1], dst);
    }
}
