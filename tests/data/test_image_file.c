/* test_image_file.c - JPEG and PNG of every kind, and what is wrong with them. */
#include "images.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/random.h"
#include "data/image_file.h"
#include "data/resize.h"

enum { SIDE = 24, PLANE = SIDE * SIDE };

/* A smooth picture, so that JPEG keeps it well. */
static void make_picture(uint8_t *pixels, int width, int height, int channels)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                pixels[(y * width + x) * channels + c] =
                    (uint8_t)(40 + 150 * (c + 1) / 5 * (x + y) / (width + height) + 30 * c);
}

static void png_comes_back_exactly(void **state)
{
    uint8_t pixels[PLANE * 3], found[PLANE * 3];
    make_picture(pixels, SIDE, SIDE, 3);
    struct file_bytes bytes = images_png(pixels, SIDE, SIDE, 3);
    assert_ok(image_file_decode(bytes.data, bytes.size, SIDE, found));
    for (int i = 0; i < PLANE; i++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(found[c * PLANE + i], pixels[3 * i + c]);
    free(bytes.data);
}

static void jpeg_comes_back_nearly(void **state)
{
    uint8_t pixels[PLANE * 3], found[PLANE * 3];
    make_picture(pixels, SIDE, SIDE, 3);
    for (int progressive = 0; progressive < 2; progressive++) {
        struct file_bytes bytes = images_jpeg(pixels, SIDE, SIDE, 3, progressive);
        assert_ok(image_file_decode(bytes.data, bytes.size, SIDE, found));
        for (int i = 0; i < PLANE; i++)
            for (int c = 0; c < 3; c++)
                assert_in_range(found[c * PLANE + i] + 8 - pixels[3 * i + c], 0, 16);
        free(bytes.data);
    }
}

static void grey_becomes_three_equal_planes(void **state)
{
    uint8_t pixels[PLANE], found[PLANE * 3];
    make_picture(pixels, SIDE, SIDE, 1);
    for (int png = 0; png < 2; png++) {
        struct file_bytes bytes =
            png ? images_png(pixels, SIDE, SIDE, 1) : images_jpeg(pixels, SIDE, SIDE, 1, false);
        assert_ok(image_file_decode(bytes.data, bytes.size, SIDE, found));
        assert_memory_equal(found, found + PLANE, PLANE);
        assert_memory_equal(found, found + 2 * PLANE, PLANE);
        for (int i = 0; i < PLANE; i++)
            assert_in_range(found[i] + 4 - pixels[i], 0, 8);
        free(bytes.data);
    }
}

static void inks_become_light(void **state)
{
    uint8_t pixels[PLANE * 4], found[PLANE * 3];
    for (int i = 0; i < PLANE; i++) { /* inverted: 255 is no ink */
        pixels[4 * i] = 200;
        pixels[4 * i + 1] = 100;
        pixels[4 * i + 2] = 50;
        pixels[4 * i + 3] = 128;
    }
    struct file_bytes bytes = images_jpeg(pixels, SIDE, SIDE, 4, false);
    assert_ok(image_file_decode(bytes.data, bytes.size, SIDE, found));
    assert_in_range(found[0], 98, 102);
    assert_in_range(found[PLANE], 48, 52);
    assert_in_range(found[2 * PLANE], 23, 27);
    free(bytes.data);
}

static void what_is_transparent_is_black(void **state)
{
    uint8_t pixels[PLANE * 4], found[PLANE * 3];
    memset(pixels, 255, sizeof(pixels));
    pixels[3] = 0;
    struct file_bytes bytes = images_png(pixels, SIDE, SIDE, 4);
    assert_ok(image_file_decode(bytes.data, bytes.size, SIDE, found));
    assert_int_equal(found[0], 0);
    assert_int_equal(found[1], 255);
    free(bytes.data);
}

/* In the numbers that stand in the file: a half of 200 is 100. */
static void half_transparent_is_half_as_bright(void **state)
{
    uint8_t pixels[PLANE * 4], found[PLANE * 3];
    for (int i = 0; i < PLANE; i++) {
        pixels[4 * i] = 200;
        pixels[4 * i + 1] = 255;
        pixels[4 * i + 2] = 10;
        pixels[4 * i + 3] = 128;
    }
    struct file_bytes bytes = images_png(pixels, SIDE, SIDE, 4);
    assert_ok(image_file_decode(bytes.data, bytes.size, SIDE, found));
    assert_int_equal(found[0], 100);
    assert_int_equal(found[PLANE], 128);
    assert_int_equal(found[2 * PLANE], 5);
    free(bytes.data);
}

static void sixteen_bits_are_rounded_to_eight(void **state)
{
    uint16_t pixels[PLANE * 3];
    uint8_t found[PLANE * 3];
    for (int i = 0; i < PLANE * 3; i++)
        pixels[i] = (uint16_t)(i * 65535 / (PLANE * 3 - 1));
    struct file_bytes bytes = images_png16(pixels, SIDE, SIDE);
    assert_ok(image_file_decode(bytes.data, bytes.size, SIDE, found));
    for (int i = 0; i < PLANE; i++)
        for (int c = 0; c < 3; c++)
            assert_in_range(257 * (int)found[c * PLANE + i] + 400 - pixels[3 * i + c], 0, 800);
    free(bytes.data);
}

static void every_cut_of_a_file_is_refused(void **state)
{
    uint8_t pixels[PLANE * 3], found[PLANE * 3];
    make_picture(pixels, SIDE, SIDE, 3);
    for (int kind = 0; kind < 3; kind++) {
        struct file_bytes bytes =
            kind < 2 ? images_jpeg(pixels, SIDE, SIDE, 3, kind) : images_png(pixels, SIDE, SIDE, 3);
        /* Without its last two bytes a JPEG is whole but for the mark of its end. */
        size_t end = kind < 2 ? bytes.size - 2 : bytes.size - 12;
        for (size_t size = 0; size < end; size++) {
            unsigned char *cut = malloc(size + 1); /* of its own, so that reading on is found */
            memcpy(cut, bytes.data, size);
            enum retort_status status = image_file_decode(cut, size, SIDE, found);
            free(cut);
            if (status != RETORT_FORMAT)
                fail_msg("kind %d: %zu of %zu bytes were taken", kind, size, bytes.size);
        }
        free(bytes.data);
    }
}

static void damaged_bytes_never_do_harm(void **state)
{
    uint8_t pixels[PLANE * 3], found[PLANE * 3];
    struct random_stream stream = random_stream(9, RANDOM_TEST, 0, 0);
    make_picture(pixels, SIDE, SIDE, 3);
    for (int kind = 0; kind < 3; kind++) {
        struct file_bytes bytes =
            kind < 2 ? images_jpeg(pixels, SIDE, SIDE, 3, kind) : images_png(pixels, SIDE, SIDE, 3);
        for (uint64_t i = 0; i < 400; i++) {
            size_t place = random_below(&stream, 2 * i, (uint32_t)bytes.size);
            unsigned char before = bytes.data[place];
            bytes.data[place] = (unsigned char)random_bits(&stream, 2 * i + 1);
            enum retort_status status = image_file_decode(bytes.data, bytes.size, SIDE, found);
            assert_true(status == RETORT_OK || status == RETORT_FORMAT);
            bytes.data[place] = before;
        }
        free(bytes.data);
    }
}

static void other_files_and_huge_images_are_refused(void **state)
{
    uint8_t pixel[3] = {0}, found[3];
    assert_fails(image_file_decode((const unsigned char *)"", 0, 1, found), RETORT_FORMAT,
                 "empty file, a JPEG or PNG image wanted");
    assert_fails(image_file_decode((const unsigned char *)"GIF89a", 6, 1, found), RETORT_FORMAT,
                 "neither's first bytes found, a JPEG or PNG image wanted");
    struct file_bytes png = images_png(pixel, 1, 1, 3);
    png.data[18] = png.data[22] = 0x40; /* 16384 more of each side */
    assert_fails(image_file_decode(png.data, png.size, 1, found), RETORT_FORMAT, "PNG");
    const uLong sum = crc32(0, png.data + 12, 17); /* of the header's name and content */
    for (int i = 0; i < 4; i++)
        png.data[29 + i] = (unsigned char)(sum >> (24 - 8 * i));
    assert_fails(image_file_decode(png.data, png.size, 1, found), RETORT_FORMAT,
                 "16385x16385 pixels found, 1 to ");
    free(png.data);
    struct file_bytes jpeg = images_jpeg(pixel, 1, 1, 3, false);
    for (size_t i = 0; i + 9 < jpeg.size; i++)
        if (jpeg.data[i] == 0xff && jpeg.data[i + 1] == 0xc0) /* its frame: height, width */
            memset(jpeg.data + i + 5, 0xf0, 4);
    assert_fails(image_file_decode(jpeg.data, jpeg.size, 1, found), RETORT_FORMAT,
                 "61680x61680 pixels found, at most");
    free(jpeg.data);
}

/* The bytes of the first scan, marker included. */
static size_t find_scan(const struct file_bytes *jpeg, size_t *length)
{
    size_t start = 0, end;
    while (jpeg->data[start] != 0xff || jpeg->data[start + 1] != 0xda)
        start++;
    for (end = start + 2; jpeg->data[end] != 0xff || jpeg->data[end + 1] == 0; end++)
        ;
    *length = end - start;
    return start;
}

/* A progressive file with a scan again and again, which the format allows: little to read, much to
 * do. It is the first one, of means alone, now said to give all their bits. */
static void endless_scans_are_refused(void **state)
{
    enum { WIDE = 512, REPEATED = 2000 };
    static uint8_t pixels[WIDE * WIDE], found[3 * SIDE * SIDE];
    struct file_bytes jpeg = images_jpeg(pixels, WIDE, WIDE, 1, true);
    size_t length, scan = find_scan(&jpeg, &length);
    unsigned char *bomb = malloc(jpeg.size + REPEATED * length);
    memcpy(bomb, jpeg.data, jpeg.size - 2);
    enum { BITS = 9 }; /* of a scan of one component: its last byte before the data */
    assert_int_equal(jpeg.data[scan + BITS], 1);
    for (size_t i = 0; i < REPEATED; i++) {
        unsigned char *copy = bomb + jpeg.size - 2 + i * length;
        memcpy(copy, jpeg.data + scan, length);
        copy[BITS] = 0;
    }
    for (size_t count = 10; count <= REPEATED; count += REPEATED - 10) {
        const size_t size = jpeg.size + count * length;
        memcpy(bomb + size - 2, "\xff\xd9", 2);
        if (count == 10)
            assert_ok(image_file_decode(bomb, size, SIDE, found));
        else
            assert_fails(image_file_decode(bomb, size, SIDE, found), RETORT_FORMAT,
                         "more than 100 scans found");
        memcpy(bomb + size - 2, jpeg.data + scan, 2); /* the next copy's beginning */
    }
    free(bomb);
    free(jpeg.data);
}

static void names_of_images_are_known(void **state)
{
    assert_true(image_file_is("a.jpg"));
    assert_true(image_file_is("train/x/b.JPEG"));
    assert_true(image_file_is("c.Png"));
    assert_false(image_file_is("d.txt"));
    assert_false(image_file_is("jpg"));
    assert_false(image_file_is("e.jpg.bak"));
}

/* ---- scaling ---- */

/* The triangle of the definition, in double, pixel by pixel. */
static double slow(const uint8_t *src, int width, int height, int size, int c, int y, int x)
{
    int shorter = width < height ? width : height;
    double scale = (double)shorter / size, reach = scale > 1 ? scale : 1;
    double middle_y = (height - shorter) / 2.0 + (y + 0.5) * scale;
    double middle_x = (width - shorter) / 2.0 + (x + 0.5) * scale;
    double sum = 0, weights = 0;
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++) {
            double down = fabs(row + 0.5 - middle_y) / reach;
            double right = fabs(column + 0.5 - middle_x) / reach;
            if (down >= 1 || right >= 1)
                continue;
            sum += (1 - down) * (1 - right) * src[(row * width + column) * 3 + c];
            weights += (1 - down) * (1 - right);
        }
    return sum / weights;
}

static void scaled_images_equal_their_slow_twin(void **state)
{
    static const int shapes[][3] = {{24, 24, 24}, {48, 48, 24}, {50, 31, 24},
                                    {17, 40, 24}, {5, 7, 24},   {64, 1, 3},
                                    {1, 64, 3},   {1, 1, 2},    {61, 67, 1}};
    struct random_stream stream = random_stream(4, RANDOM_TEST, 0, 0);
    for (size_t row = 0; row < sizeof(shapes) / sizeof(shapes[0]); row++) {
        int width = shapes[row][0], height = shapes[row][1], size = shapes[row][2];
        uint8_t *src = malloc((size_t)(width * height * 3)), dst[3 * PLANE];
        for (int i = 0; i < width * height * 3; i++)
            src[i] = (uint8_t)random_bits(&stream, (uint64_t)i);
        assert_ok(resize_middle(src, width, height, size, dst));
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < size; y++)
                for (int x = 0; x < size; x++) {
                    double wanted = slow(src, width, height, size, c, y, x);
                    double found = dst[(c * size + y) * size + x];
                    if (!(fabs(found - wanted) < 0.51))
                        fail_msg("%dx%d to %d: %g found, %g wanted", width, height, size, found,
                                 wanted);
                }
        free(src);
    }
}

/* Large photographs are shrunk by the decoder first: it must not be seen. */
static void large_jpegs_are_scaled_like_large_pngs(void **state)
{
    enum { WIDE = 600, HIGH = 410 };
    static uint8_t pixels[WIDE * HIGH * 3], jpeg[3 * PLANE], png[3 * PLANE];
    make_picture(pixels, WIDE, HIGH, 3);
    struct file_bytes a = images_jpeg(pixels, WIDE, HIGH, 3, false);
    struct file_bytes b = images_png(pixels, WIDE, HIGH, 3);
    assert_ok(image_file_decode(a.data, a.size, SIDE, jpeg));
    assert_ok(image_file_decode(b.data, b.size, SIDE, png));
    for (int i = 0; i < 3 * PLANE; i++)
        assert_in_range(jpeg[i] + 3 - png[i], 0, 6);
    free(a.data);
    free(b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_comes_back_exactly),
        cmocka_unit_test(jpeg_comes_back_nearly),
        cmocka_unit_test(grey_becomes_three_equal_planes),
        cmocka_unit_test(inks_become_light),
        cmocka_unit_test(what_is_transparent_is_black),
        cmocka_unit_test(half_transparent_is_half_as_bright),
        cmocka_unit_test(sixteen_bits_are_rounded_to_eight),
        cmocka_unit_test(every_cut_of_a_file_is_refused),
        cmocka_unit_test(damaged_bytes_never_do_harm),
        cmocka_unit_test(other_files_and_huge_images_are_refused),
        cmocka_unit_test(endless_scans_are_refused),
        cmocka_unit_test(names_of_images_are_known),
        cmocka_unit_test(scaled_images_equal_their_slow_twin),
        cmocka_unit_test(large_jpegs_are_scaled_like_large_pngs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
