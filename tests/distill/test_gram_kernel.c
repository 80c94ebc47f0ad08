/* test_gram_kernel.c - Gram matrices and their gradients, kernel by kernel, against the outside
 * implementation. test_gram.c has the sizes and layouts. */
#include "golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "distill/gram_kernel.h"

enum { MOST = 64 * 1024 };

/* Panels and matrices; NaN beforehand. */
struct buffers {
    float a[MOST], b[MOST], pooled[MOST], gram[MOST], transposed[MOST];
    float diff_a[MOST], diff_b[MOST], diff_pooled[MOST], plain[MOST];
    int32_t chosen[MOST];
};

static size_t matrix_place(int a_blocks, int i, int j)
{
    return (((size_t)(j / 16) * (size_t)a_blocks + (size_t)(i / 16)) * 16 + (size_t)(i % 16)) * 16 +
           (size_t)(j % 16);
}

/* One image of the case. */
struct image {
    struct tensor a, b; /* of the whole batch, plain */
    struct gram_window window;
    struct gram_panel panel_a, panel_b;
};

static struct image open_image(const struct golden *golden, int number, struct buffers *buffers)
{
    const struct gram_kernels *kernels = gram_kernels();
    const struct golden_dims a = golden_dims(golden, "a"), b = golden_dims(golden, "b");
    const int window = (int)golden_number(golden, "window");
    struct image image = {
        .a = {PRECISION_F32, a.dims[0], a.dims[1], a.dims[2], a.dims[3], 1,
              (void *)golden_floats(golden, "a", a)},
        .b = {PRECISION_F32, b.dims[0], b.dims[1], b.dims[2], b.dims[3], 1,
              (void *)golden_floats(golden, "b", b)},
        .window = {(a.dims[1] + 15) / 16, b.dims[2], b.dims[3], window, window},
    };
    memset(buffers, 0xff, sizeof(*buffers));
    kernels->load(&image.a, number, buffers->a);
    kernels->load(&image.b, number, buffers->b);
    kernels->pool(GRAM_MAX, &image.window, buffers->a, buffers->pooled, buffers->chosen);
    const int positions = b.dims[2] * b.dims[3];
    image.panel_a = (struct gram_panel){buffers->pooled, image.window.blocks, positions};
    image.panel_b = (struct gram_panel){buffers->b, (b.dims[1] + 15) / 16, positions};
    return image;
}

static void image_product(const struct image *image, struct buffers *buffers, float *plain)
{
    gram_kernels()->product(&image->panel_a, &image->panel_b, 1 / (float)image->panel_a.positions,
                            NULL, buffers->gram);
    for (int i = 0; i < image->a.c; i++)
        for (int j = 0; j < image->b.c; j++)
            *plain++ = buffers->gram[matrix_place(image->panel_a.blocks, i, j)];
}

/* From the gradient of the matrix, through `difference` with a target of zero, to the maps. */
static void image_diffs(const struct image *image, const float *diff, struct buffers *buffers)
{
    const struct gram_kernels *kernels = gram_kernels();
    const struct gram_panel *a = &image->panel_a, *b = &image->panel_b;
    static const float zeros[MOST];
    memset(buffers->gram, 0, sizeof(buffers->gram));
    for (int i = 0; i < image->a.c; i++)
        for (int j = 0; j < image->b.c; j++)
            buffers->gram[matrix_place(a->blocks, i, j)] = *diff++;
    kernels->difference(a->blocks, b->blocks, zeros, 1 / (float)a->positions, buffers->gram,
                        buffers->transposed);
    kernels->spread(b, buffers->transposed, a->blocks, NULL, buffers->diff_pooled, false);
    kernels->spread(a, buffers->gram, b->blocks, NULL, buffers->diff_b, false);
    kernels->unpool(GRAM_MAX, &image->window, buffers->diff_pooled, buffers->chosen,
                    buffers->diff_a, false);
}

/* One image of a plain map from its panel. */
static void copy_out(const struct tensor *map, const float *panel, int number, float *all)
{
    struct tensor to = *map;
    to.data = all;
    gram_kernels()->store(panel, &to, number, false);
}

static void check(const char *name)
{
    struct golden golden;
    golden_open(&golden, name); /* may skip the test: before anything is allocated */
    struct buffers *buffers = test_malloc(sizeof(*buffers));
    const struct golden_dims a = golden_dims(&golden, "a"), b = golden_dims(&golden, "b");
    const struct golden_dims y = golden_dims(&golden, "y");
    const size_t matrix = (size_t)(y.dims[1] * y.dims[2]);
    const float *grad_y = golden_floats(&golden, "grad_y", y);
    float *grams = test_malloc(golden_count(&y) * sizeof(float));
    float *diff_a = test_malloc(golden_count(&a) * sizeof(float));
    float *diff_b = test_malloc(golden_count(&b) * sizeof(float));
    for (int n = 0; n < a.dims[0]; n++) {
        struct image image = open_image(&golden, n, buffers);
        image_product(&image, buffers, grams + (size_t)n * matrix);
        image_diffs(&image, grad_y + (size_t)n * matrix, buffers);
        copy_out(&image.a, buffers->diff_a, n, diff_a);
        copy_out(&image.b, buffers->diff_b, n, diff_b);
    }
    golden_check(&golden, "y", grams, "y", 4);
    golden_check(&golden, "grad_a", diff_a, "grad", 4);
    golden_check(&golden, "grad_b", diff_b, "grad", 4);
    test_free(grams);
    test_free(diff_a);
    test_free(diff_b);
    golden_close(&golden);
    test_free(buffers);
}

static void matrices_and_gradients_agree_with_the_outside_implementation(void **state)
{
    cpu_limit(CPU_LEVEL_COUNT - 1);
    const int best = (int)cpu_level();
    for (int level = 0; level <= best; level++) {
        cpu_limit((enum cpu_level)level);
        check("op_gram_equal_5x7");
        check("op_gram_equal_16x32");
        check("op_gram_pool2_16x33");
        check("op_gram_pool4_5x7");
    }
}

static void bf16_is_rounded_as_everywhere(void **state)
{
    static float panel[2 * 16 * 16];
    static uint16_t halves[2 * 16 * 16];
    struct random_stream stream = random_stream(8, RANDOM_TEST, 0, 0);
    for (int i = 0; i < 512; i++) {
        uint32_t bits = random_bits(&stream, (uint64_t)i);
        if (i % 4 == 0)
            bits = (bits & 0xffff0000) | 0x8000; /* a tie */
        if (i % 16 == 1)
            bits |= 0x7f800000; /* NaN, infinity */
        if ((bits & 0x7f800000) == 0)
            bits |= 0x00800000; /* denormals may become zero */
        memcpy(&panel[i], &bits, sizeof(bits));
    }
    panel[2] = INFINITY;
    cpu_limit(CPU_LEVEL_COUNT - 1);
    const int best = (int)cpu_level();
    for (int level = 0; level <= best; level++)
        for (int block = 1; block <= 16; block += block == 1 ? 7 : 8) {
            const struct tensor map = {PRECISION_BF16, 1, 32, 4, 4, block, halves};
            cpu_limit((enum cpu_level)level);
            gram_kernels()->store(panel, &map, 0, false);
            for (int c = 0; c < 32; c++)
                for (int p = 0; p < 16; p++) {
                    uint16_t found = halves[(c / block * 16 + p) * block + c % block];
                    assert_int_equal(found,
                                     bf16_from_float(panel[(c / 16 * 16 + p) * 16 + c % 16]));
                }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_is_rounded_as_everywhere),
        cmocka_unit_test(matrices_and_gradients_agree_with_the_outside_implementation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
