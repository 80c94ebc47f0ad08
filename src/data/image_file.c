/* image_file.c - the only user of libjpeg and libpng.
 *
 * Nothing that a file says about itself is believed before it is held against limits: the number
 * of pixels, and for JPEG the number of scans, of which a small progressive file can hold millions.
 * What libjpeg calls a warning (data that ends early, or cannot be right) is an error here: it
 * would go on with a grey picture. */
#include "data/image_file.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include "data/resize.h"

enum { CHANNELS = 3, RGBA = 4, CMYK = 4, LARGEST_IMAGE = 1 << 26 /* pixels */, MOST_SCANS = 100 };

static bool ends_with_any(const char *name, const char *const *suffixes)
{
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && suffixes[i]; i++)
        if (strcasecmp(dot, suffixes[i]) == 0)
            return true;
    return false;
}

bool image_file_is(const char *name)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", NULL};
    return ends_with_any(name, suffixes);
}

bool image_file_is_foreign(const char *name)
{
    static const char *const suffixes[] = {".webp", ".gif",  ".bmp", ".tif", ".tiff", ".avif",
                                           ".heic", ".heif", ".jxl", ".jp2", ".jfif", ".jpe",
                                           ".ppm",  ".pgm",  ".pnm", NULL};
    return ends_with_any(name, suffixes);
}

/* A decoded image: (height, width, 3). */
struct picture {
    uint8_t *pixels;
    int width, height;
};

static enum retort_status make_picture(struct picture *picture, uint64_t width, uint64_t height)
{
    if (width == 0 || height == 0 || width * height > LARGEST_IMAGE)
        return fail(RETORT_FORMAT, "%llux%llu pixels found, 1 to %d wanted",
                    (unsigned long long)width, (unsigned long long)height, LARGEST_IMAGE);
    uint8_t *pixels = malloc((size_t)(width * height) * CHANNELS);
    if (!pixels)
        return fail(RETORT_MEMORY, "out of memory for %llux%llu pixels", (unsigned long long)width,
                    (unsigned long long)height);
    *picture = (struct picture){pixels, (int)width, (int)height};
    return RETORT_OK;
}

/* ---- JPEG ---- */

/* libjpeg tells of errors by a call that must not return. */
struct reader {
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct jpeg;
    jmp_buf failed;
    bool out_of_memory, endless;
    uint8_t *line; /* of a CMYK image */
    struct picture picture;
};

static void stop(j_common_ptr jpeg)
{
    struct reader *reader = jpeg->client_data;
    reader->out_of_memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(reader->failed, 1);
}

static void take_message(j_common_ptr jpeg, int level)
{
    int code = jpeg->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM)
        stop(jpeg);
}

static void be_silent(j_common_ptr jpeg)
{
}

static void count_scans(j_common_ptr jpeg)
{
    if (((j_decompress_ptr)jpeg)->input_scan_number > MOST_SCANS) {
        ((struct reader *)jpeg->client_data)->endless = true;
        stop(jpeg);
    }
}

/* By a power of 2 at once, as long as both sides stay at least twice the wanted size: much less
 * work for photographs, and the filter still sees two pixels for each. */
static void choose_scale(struct jpeg_decompress_struct *jpeg, int size)
{
    JDIMENSION shorter =
        jpeg->image_width < jpeg->image_height ? jpeg->image_width : jpeg->image_height;
    jpeg->scale_num = jpeg->scale_denom = 8;
    while (jpeg->scale_num > 1 && shorter * (jpeg->scale_num / 2) / 8 >= 2 * (JDIMENSION)size)
        jpeg->scale_num /= 2;
}

/* Adobe's CMYK files hold inverted inks: 255 is none. */
static void convert_line(const struct reader *reader, uint8_t *dst)
{
    bool inverted = reader->jpeg.saw_Adobe_marker;
    const uint8_t *src = reader->line;
    for (JDIMENSION x = 0; x < reader->jpeg.output_width; x++, src += CMYK, dst += CHANNELS)
        for (int c = 0; c < CHANNELS; c++) {
            int light = inverted ? src[c] : 255 - src[c], key = inverted ? src[3] : 255 - src[3];
            dst[c] = (uint8_t)((light * key + 127) / 255);
        }
}

static enum retort_status read_lines(struct reader *reader)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    if (cmyk && !(reader->line = malloc((size_t)jpeg->output_width * CMYK)))
        return fail(RETORT_MEMORY, "out of memory for a line of pixels");
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *dst =
            reader->picture.pixels + (size_t)jpeg->output_scanline * jpeg->output_width * CHANNELS;
        JSAMPROW row = cmyk ? reader->line : dst;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (cmyk)
            convert_line(reader, dst);
    }
    jpeg_finish_decompress(jpeg);
    return RETORT_OK;
}

static enum retort_status start_jpeg(struct reader *reader, int size)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    jpeg_read_header(jpeg, TRUE);
    if ((uint64_t)jpeg->image_width * jpeg->image_height > LARGEST_IMAGE)
        return fail(RETORT_FORMAT, "%ux%u pixels found, at most %d wanted", jpeg->image_width,
                    jpeg->image_height, LARGEST_IMAGE);
    bool cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    choose_scale(jpeg, size);
    jpeg_start_decompress(jpeg);
    return make_picture(&reader->picture, jpeg->output_width, jpeg->output_height);
}

static enum retort_status fail_jpeg(struct reader *reader)
{
    char text[JMSG_LENGTH_MAX];
    if (reader->out_of_memory)
        return fail(RETORT_MEMORY, "out of memory");
    if (reader->endless)
        return fail(RETORT_FORMAT, "damaged JPEG image: more than %d scans found", MOST_SCANS);
    reader->errors.format_message((j_common_ptr)&reader->jpeg, text);
    return fail(RETORT_FORMAT, "damaged JPEG image (%s)", text);
}

static enum retort_status run_jpeg(struct reader *reader, const unsigned char *data, size_t bytes,
                                   int size)
{
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    if (setjmp(reader->failed))
        return fail_jpeg(reader);
    jpeg->err = jpeg_std_error(&reader->errors);
    reader->errors.error_exit = stop;
    reader->errors.emit_message = take_message;
    reader->errors.output_message = be_silent;
    jpeg->client_data = reader;
    jpeg_create_decompress(jpeg);
    reader->progress.progress_monitor = count_scans;
    jpeg->progress = &reader->progress;
    jpeg_mem_src(jpeg, data, bytes);
    TRY(start_jpeg(reader, size));
    return read_lines(reader);
}

static enum retort_status decode_jpeg(const unsigned char *data, size_t bytes, int size,
                                      struct picture *picture)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return fail(RETORT_MEMORY, "out of memory");
    enum retort_status status = run_jpeg(reader, data, bytes, size);
    jpeg_destroy_decompress(&reader->jpeg);
    free(reader->line);
    if (status == RETORT_OK)
        *picture = reader->picture;
    else
        free(reader->picture.pixels);
    free(reader);
    return status;
}

/* ---- PNG ---- */

/* libpng tells of want of memory by words alone; its own limits of what a file may ask for have
 * others. Taken for damage, it would leave good images out. */
static enum retort_status fail_png(const png_image *png)
{
    return strstr(png->message, "memory")
               ? fail(RETORT_MEMORY, "out of memory for a PNG image (%s)", png->message)
               : fail(RETORT_FORMAT, "damaged PNG image (%s)", png->message);
}

/* The colours as they stand, over black. (libpng would do it for brightness, not for the numbers
 * that stand in files, which makes edges lighter than browsers show them.) */
static void blend(const uint8_t *src, size_t pixels, uint8_t *dst)
{
    for (size_t i = 0; i < pixels; i++, src += RGBA, dst += CHANNELS)
        for (int c = 0; c < CHANNELS; c++)
            dst[c] = (uint8_t)((src[c] * src[3] + 127) / 255);
}

static enum retort_status read_transparent(png_image *png, struct picture *picture)
{
    size_t pixels = (size_t)png->width * png->height;
    uint8_t *whole = malloc(pixels * RGBA);
    if (!whole)
        return fail(RETORT_MEMORY, "out of memory for %ux%u pixels", png->width, png->height);
    png->format = PNG_FORMAT_RGBA;
    enum retort_status status = RETORT_OK;
    if (png_image_finish_read(png, NULL, whole, 0, NULL) && !PNG_IMAGE_FAILED(*png))
        blend(whole, pixels, picture->pixels);
    else
        status = fail_png(png);
    free(whole);
    return status;
}

static enum retort_status read_opaque(png_image *png, struct picture *picture)
{
    png->format = PNG_FORMAT_RGB;
    return png_image_finish_read(png, NULL, picture->pixels, 0, NULL) && !PNG_IMAGE_FAILED(*png)
               ? RETORT_OK
               : fail_png(png);
}

/* 16 bits a channel are taken for sRGB, as 8 are, where no gamma is given: libpng's own guess,
 * linear light, is right for few files. */
static enum retort_status finish_png(png_image *png, struct picture *picture)
{
    TRY(make_picture(picture, png->width, png->height));
    png->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    enum retort_status status = png->format & PNG_FORMAT_FLAG_ALPHA ? read_transparent(png, picture)
                                                                    : read_opaque(png, picture);
    if (status != RETORT_OK) {
        free(picture->pixels);
        *picture = (struct picture){0};
    }
    return status;
}

static enum retort_status decode_png(const unsigned char *data, size_t bytes,
                                     struct picture *picture)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    enum retort_status status = png_image_begin_read_from_memory(&png, data, bytes)
                                    ? finish_png(&png, picture)
                                    : fail_png(&png);
    png_image_free(&png);
    return status;
}

enum retort_status image_file_decode(const unsigned char *data, size_t bytes, int size,
                                     uint8_t *pixels)
{
    struct picture picture = {0};
    if (bytes >= 3 && memcmp(data, "\xff\xd8\xff", 3) == 0)
        TRY(decode_jpeg(data, bytes, size, &picture));
    else if (bytes >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        TRY(decode_png(data, bytes, &picture));
    else
        return fail(RETORT_FORMAT, "%s, a JPEG or PNG image wanted",
                    bytes ? "neither's first bytes found" : "empty file");
    enum retort_status status =
        resize_middle(picture.pixels, picture.width, picture.height, size, pixels);
    free(picture.pixels);
    return status;
}
