/* test_tensor.c - layouts and bf16. */
#include "support.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "nn/tensor.h"

static void every_layout_gives_back_what_it_was_given(void **state)
{
    static const int blocks[] = {1, 8, 16}, channels[] = {1, 7, 8, 16, 17, 33};
    for (int b = 0; b < 3; b++)
        for (int c = 0; c < 6; c++)
            for (int type = PRECISION_F32; type <= PRECISION_BF16; type++) {
                struct tensor tensor = {(enum precision)type, 3, channels[c], 5, 2, blocks[b]};
                size_t count = (size_t)tensor.n * tensor.c * tensor.h * tensor.w;
                float *plain = malloc(count * sizeof(float)), *back = malloc(count * sizeof(float));
                tensor.data = malloc(tensor_bytes(&tensor));
                assert_true(plain && back && tensor.data);
                for (size_t i = 0; i < count; i++)
                    plain[i] = (float)(i % 251) - 125; /* exact in bf16 */
                tensor_from_plain(plain, &tensor);
                tensor_to_plain(&tensor, back);
                assert_memory_equal(plain, back, count * sizeof(float));
                free(tensor.data);
                free(plain);
                free(back);
            }
}

/* (n, ceil(c / 8), h, w, 8), written out by hand. */
static void channels_are_innermost_and_padded_with_zeros(void **state)
{
    float plain[2][9][2], blocked[2][2][2][8];
    for (int n = 0; n < 2; n++)
        for (int c = 0; c < 9; c++)
            for (int w = 0; w < 2; w++)
                plain[n][c][w] = (float)(100 * n + 10 * c + w + 1);
    for (size_t i = 0; i < sizeof(blocked) / sizeof(float); i++)
        ((float *)blocked)[i] = NAN;
    struct tensor tensor = {PRECISION_F32, 2, 9, 1, 2, 8, blocked};
    assert_int_equal(tensor_channels(&tensor), 16);
    assert_int_equal(tensor_bytes(&tensor), sizeof(blocked));
    tensor_from_plain(&plain[0][0][0], &tensor);
    for (int n = 0; n < 2; n++)
        for (int c = 0; c < 16; c++)
            for (int w = 0; w < 2; w++)
                assert_float_equal(blocked[n][c / 8][w][c % 8], c < 9 ? plain[n][c][w] : 0, 0);
}

static void bf16_rounds_to_nearest_and_ties_to_even(void **state)
{
    static const struct {
        float value;
        uint16_t half;
    } cases[] = {
        {0, 0},
        {-0.0f, 0x8000},
        {1, 0x3f80},
        {0x1.01p0f, 0x3f80},     /* halfway, below is even */
        {0x1.010002p0f, 0x3f81}, /* just above halfway */
        {0x1.03p0f, 0x3f82},     /* halfway, above is even */
        {0x1.02fffep0f, 0x3f81}, /* just below halfway */
        {-0x1.03p0f, 0xbf82},
        {0x1.ffp0f, 0x4000},       /* into the next power of two */
        {0x1.fffffep127f, 0x7f80}, /* beyond the largest */
        {INFINITY, 0x7f80},
        {-INFINITY, 0xff80},
        {0x1p-149f, 0},
        {0x1p-133f, 1}, /* subnormal */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(bf16_from_float(cases[i].value), cases[i].half);
    for (uint32_t bits = 0x7f800001; bits <= 0x7fffffff; bits += 0x1fff) {
        float value;
        memcpy(&value, &bits, sizeof(value));
        assert_true(isnan(bf16_to_float(bf16_from_float(value))));
    }
}

static void every_bf16_number_survives_the_way_through_float(void **state)
{
    for (uint32_t half = 0; half <= 0xffff; half++) {
        float value = bf16_to_float((uint16_t)half);
        if (!isnan(value))
            assert_int_equal(bf16_from_float(value), half);
    }
}

static void bf16_is_within_half_a_step(void **state)
{
    struct random_stream stream = random_stream(1, RANDOM_TEST, 0, 0);
    for (int i = 0; i < 10000; i++) {
        float value = (float)random_normal(&stream, (uint64_t)i);
        assert_true(fabs(bf16_to_float(bf16_from_float(value)) - value) <= fabs(value) * 0x1p-8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_gives_back_what_it_was_given),
        cmocka_unit_test(channels_are_innermost_and_padded_with_zeros),
        cmocka_unit_test(bf16_rounds_to_nearest_and_ties_to_even),
        cmocka_unit_test(every_bf16_number_survives_the_way_through_float),
        cmocka_unit_test(bf16_is_within_half_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
