/* test_augment.c - rotation, borders, colours and cutout against slow twins; crop and flip alone
 * are tested through the loader. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/augment.h"

enum { CHANNELS = 3, HEIGHT = 9, WIDTH = 12, PLANE = HEIGHT * WIDTH, IMAGE = CHANNELS * PLANE };
enum { CROP = 3 };

static const float mean[CHANNELS] = {0.5f, 0.25f, 0.4f}, std[CHANNELS] = {0.2f, 0.3f, 0.25f};

static struct augment_options plain(void)
{
    return (struct augment_options){
        .channels = CHANNELS, .height = HEIGHT, .width = WIDTH, .mean = mean, .std = std};
}

static void make_image(uint8_t *pixels)
{
    struct random_stream stream = random_stream(3, RANDOM_TEST, 0, 0);
    for (int i = 0; i < IMAGE; i++)
        pixels[i] = (uint8_t)random_bits(&stream, (uint64_t)i);
}

static struct random_stream stream_of(int number)
{
    return random_stream(7, RANDOM_AUGMENT, (uint32_t)number, 5);
}

static void run(const struct augment_options *options, int number, float *found)
{
    struct augment augment;
    uint8_t pixels[IMAGE];
    struct random_stream stream = stream_of(number);
    make_image(pixels);
    for (int i = 0; i < IMAGE; i++)
        found[i] = NAN;
    assert_ok(augment_init(&augment, options));
    augment_image(&augment, &stream, AUGMENT_BY_CHANCE, pixels, found);
    augment_release(&augment);
}

/* The value at any whole place of the endless image. */
static double pixel_at(const uint8_t *pixels, int c, int y, int x, bool black)
{
    if (black && (y < 0 || y >= HEIGHT || x < 0 || x >= WIDTH))
        return 0;
    while (y < 0 || y >= HEIGHT)
        y = y < 0 ? -y : 2 * (HEIGHT - 1) - y;
    while (x < 0 || x >= WIDTH)
        x = x < 0 ? -x : 2 * (WIDTH - 1) - x;
    return pixels[(c * HEIGHT + y) * WIDTH + x] / 255.0;
}

static double blend(const uint8_t *pixels, int c, double y, double x, bool black)
{
    double sum = 0;
    for (int dy = 0; dy < 2; dy++)
        for (int dx = 0; dx < 2; dx++) {
            int row = (int)floor(y) + dy, column = (int)floor(x) + dx;
            sum += (1 - fabs(y - row)) * (1 - fabs(x - column)) *
                   pixel_at(pixels, c, row, column, black);
        }
    return sum;
}

/* What the stream decides, as augment.c's head of the geometry says. */
static void twin(const struct augment_options *options, int number, double *wanted)
{
    uint8_t pixels[IMAGE];
    uint32_t bits[4];
    struct random_stream stream = stream_of(number);
    make_image(pixels);
    random_bits4(&stream, 0, bits);
    bool flip = options->flip && bits[0] >> 31;
    int top = (int)(((uint64_t)bits[1] * (uint64_t)(2 * options->crop + 1)) >> 32);
    int left = (int)(((uint64_t)bits[2] * (uint64_t)(2 * options->crop + 1)) >> 32);
    double angle = (bits[3] / 2147483648.0 - 1) * options->rotation * 3.14159265358979 / 180;
    for (int c = 0; c < CHANNELS; c++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                double down = y + top - options->crop - (HEIGHT - 1) / 2.0;
                double right =
                    (flip ? WIDTH - 1 - x : x) + left - options->crop - (WIDTH - 1) / 2.0;
                double row = (HEIGHT - 1) / 2.0 + cos(angle) * down - sin(angle) * right;
                double column = (WIDTH - 1) / 2.0 + sin(angle) * down + cos(angle) * right;
                wanted[(c * HEIGHT + y) * WIDTH + x] =
                    (blend(pixels, c, row, column, options->zero_border) - (double)mean[c]) /
                    (double)std[c];
            }
}

static void windows_equal_their_slow_twin_with_every_border_and_rotation(void **state)
{
    for (int mode = 0; mode < 16; mode++)
        for (int number = 0; number < 20; number++) {
            struct augment_options options = plain();
            float found[IMAGE];
            double wanted[IMAGE];
            options.flip = mode & 1;
            options.crop = mode & 2 ? CROP : 0;
            options.zero_border = mode & 4;
            options.rotation = mode & 8 ? 170 : 0;
            run(&options, number, found);
            twin(&options, number, wanted);
            for (int i = 0; i < IMAGE; i++)
                if (!(fabs((double)found[i] - wanted[i]) < 2e-5))
                    fail_msg("mode %d, number %d, value %d: %g found, %g wanted", mode, number, i,
                             (double)found[i], wanted[i]);
        }
}

static double clamp(double value)
{
    return value < 0 ? 0 : value > 1 ? 1 : value;
}

static double grey(const double *image, int i)
{
    return 0.299 * image[i] + 0.587 * image[PLANE + i] + 0.114 * image[2 * PLANE + i];
}

static void colours_equal_their_slow_twin(void **state)
{
    const struct augment_options none = plain();
    struct augment_options options = plain();
    options.jitter = 0.6;
    for (int number = 0; number < 30; number++) {
        float before[IMAGE], found[IMAGE];
        double image[IMAGE], middle = 0, factors[3];
        uint32_t bits[4];
        struct random_stream stream = stream_of(number);
        random_bits4(&stream, 1, bits);
        for (int k = 0; k < 3; k++)
            factors[k] = 1 + (bits[k] / 2147483648.0 - 1) * 0.6;
        run(&none, number, before);
        run(&options, number, found);
        for (int i = 0; i < IMAGE; i++)
            image[i] =
                clamp(((double)before[i] * (double)std[i / PLANE] + (double)mean[i / PLANE]) *
                      factors[0]);
        for (int i = 0; i < PLANE; i++)
            middle += grey(image, i) / PLANE;
        for (int i = 0; i < IMAGE; i++)
            image[i] = clamp(middle + (image[i] - middle) * factors[1]);
        for (int i = 0; i < PLANE; i++) {
            double own = grey(image, i);
            for (int c = 0; c < CHANNELS; c++) {
                double value = clamp(own + (image[c * PLANE + i] - own) * factors[2]);
                double wanted = (value - (double)mean[c]) / (double)std[c];
                assert_true(fabs((double)found[c * PLANE + i] - wanted) < 1e-4);
            }
        }
    }
}

static void a_square_of_every_image_becomes_the_mean(void **state)
{
    const struct augment_options none = plain();
    struct augment_options options = plain();
    options.cutout = 4;
    int largest = 0, touched[PLANE] = {0};
    for (int number = 0; number < 2000; number++) {
        float before[IMAGE], found[IMAGE];
        int top = HEIGHT, bottom = -1, left = WIDTH, right = -1, count = 0;
        run(&none, number, before);
        run(&options, number, found);
        for (int i = 0; i < PLANE; i++) {
            if (found[i] == before[i])
                continue;
            for (int c = 0; c < CHANNELS; c++)
                assert_true(found[c * PLANE + i] == 0);
            top = i / WIDTH < top ? i / WIDTH : top;
            bottom = i / WIDTH > bottom ? i / WIDTH : bottom;
            left = i % WIDTH < left ? i % WIDTH : left;
            right = i % WIDTH > right ? i % WIDTH : right;
            touched[i]++;
            count++;
        }
        assert_in_range(count, 4, 16);
        assert_int_equal(count, (bottom - top + 1) * (right - left + 1));
        largest = count > largest ? count : largest;
    }
    assert_int_equal(largest, 16);
    for (int i = 0; i < PLANE; i++)
        assert_true(touched[i] > 0);
}

static void nothing_asked_for_is_nothing_but_normalised(void **state)
{
    const struct augment_options none = plain();
    uint8_t pixels[IMAGE];
    float found[IMAGE];
    make_image(pixels);
    run(&none, 0, found);
    for (int i = 0; i < IMAGE; i++) {
        double wanted = (pixels[i] / 255.0 - (double)mean[i / PLANE]) / (double)std[i / PLANE];
        assert_true(fabs((double)found[i] - wanted) < 1e-6);
    }
}

static void other_numbers_of_channels_have_no_colour_to_lose(void **state)
{
    const uint8_t pixels[4] = {0, 100, 200, 255};
    struct augment_options options = plain();
    struct augment augment;
    struct random_stream stream = stream_of(1);
    float found[4];
    options.channels = 1;
    options.height = options.width = 2;
    options.jitter = 0.5;
    options.rotation = 20;
    options.cutout = 1;
    assert_ok(augment_init(&augment, &options));
    augment_image(&augment, &stream, AUGMENT_PLAIN, pixels, found);
    for (int i = 0; i < 4; i++)
        assert_true(isfinite(found[i]));
    augment_release(&augment);
}

static void impossible_options_are_refused(void **state)
{
    struct augment augment;
    struct augment_options options = plain();
    options.rotation = 181;
    assert_fails(augment_init(&augment, &options), RETORT_INVALID, "rotation: 181 degrees found");
    options.rotation = NAN;
    assert_fails(augment_init(&augment, &options), RETORT_INVALID, "rotation: nan");
    options = plain();
    options.jitter = 1.5;
    assert_fails(augment_init(&augment, &options), RETORT_INVALID, "jitter: 1.5 found, 0 to 1");
    options = plain();
    options.cutout = 10;
    assert_fails(augment_init(&augment, &options), RETORT_INVALID,
                 "cutout: 10 pixels found, 0 to 9 wanted for images of 9x12");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_equal_their_slow_twin_with_every_border_and_rotation),
        cmocka_unit_test(colours_equal_their_slow_twin),
        cmocka_unit_test(a_square_of_every_image_becomes_the_mean),
        cmocka_unit_test(nothing_asked_for_is_nothing_but_normalised),
        cmocka_unit_test(other_numbers_of_channels_have_no_colour_to_lose),
        cmocka_unit_test(impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
