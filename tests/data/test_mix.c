/* test_mix.c - mixtures are what their shares say, shares are distributed as they should be, and a
 * loader's batches hold them with both labels. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "data/mix.h"
#include "tiny.h"

enum { C = 2, H = 6, W = 5, COUNT = C * H * W, DRAWS = 4000 };

static void fill(float *image, float first)
{
    for (int i = 0; i < COUNT; i++)
        image[i] = first + (float)i;
}

static void mixup_gives_means_of_both(void **state)
{
    const struct mix mix = {C, H, W, 0.5, 0};
    float a[COUNT], b[COUNT];
    for (uint32_t draw = 0; draw < 20; draw++) {
        const struct random_stream stream = random_stream(1, RANDOM_TEST, draw, 0);
        fill(a, 0);
        fill(b, 1000);
        const float share = mix_pair(&mix, &stream, a, b);
        assert_true(share >= 0 && share <= 1);
        for (int i = 0; i < COUNT; i++) {
            assert_float_equal(a[i], (float)i + 1000 * (1 - share), 1e-3);
            assert_float_equal(b[i], (float)i + 1000 * share, 1e-3);
        }
    }
}

static void cutmix_exchanges_one_rectangle(void **state)
{
    const struct mix mix = {C, H, W, 0, 1};
    float a[COUNT], b[COUNT];
    int cut = 0;
    for (uint32_t draw = 0; draw < 200; draw++) {
        const struct random_stream stream = random_stream(2, RANDOM_TEST, draw, 0);
        int top = H, bottom = -1, left = W, right = -1, moved = 0;
        fill(a, 0);
        fill(b, 1000);
        const float share = mix_pair(&mix, &stream, a, b);
        for (int i = 0; i < COUNT; i++) {
            const bool foreign = a[i] == 1000 + (float)i;
            const int y = i / W % H, x = i % W;
            assert_true(foreign ? b[i] == (float)i : a[i] == (float)i && b[i] == 1000 + (float)i);
            moved += foreign;
            if (foreign) {
                top = y < top ? y : top;
                bottom = y > bottom ? y : bottom;
                left = x < left ? x : left;
                right = x > right ? x : right;
            }
        }
        assert_int_equal(moved, moved ? C * (bottom - top + 1) * (right - left + 1) : 0);
        assert_float_equal(share, 1 - (double)moved / COUNT, 1e-6);
        cut += moved > 0;
    }
    assert_true(cut > 100);
}

/* Beta(alpha, alpha) has mean 1/2 and variance 1 / (4 (2 alpha + 1)). */
static void shares_have_the_moments_of_their_distribution(void **state)
{
    static const double alphas[] = {0.2, 1, 4};
    for (int k = 0; k < 3; k++) {
        const struct mix mix = {1, 1, 1, alphas[k], 0};
        double mean = 0, variance = 0;
        for (uint32_t draw = 0; draw < DRAWS; draw++) {
            const struct random_stream stream = random_stream(3, RANDOM_TEST, draw, 0);
            float a = 0, b = 1;
            const double share = (double)mix_pair(&mix, &stream, &a, &b);
            mean += share / DRAWS;
            variance += (share - 0.5) * (share - 0.5) / DRAWS;
        }
        assert_float_equal(mean, 0.5, 0.02);
        assert_float_equal(variance, 1 / (4 * (2 * alphas[k] + 1)), 0.01);
    }
}

/* Every image of a mixed batch is the sum of an unmixed one and its partner. */
static void a_loader_mixes_the_first_with_the_last(void **state)
{
    enum { BATCH = 7 };
    struct dataset dataset;
    struct loader *plain, *mixed;
    struct batch one, two;
    tiny_dataset(20, 3, &dataset);
    struct loader_options options = {.batch = BATCH, .seed = 4, .shuffle = true, .threads = 2};
    assert_ok(loader_create(&dataset, true, &options, &plain));
    options.mixup = 0.7;
    assert_ok(loader_create(&dataset, true, &options, &mixed));
    assert_ok(loader_start(plain, 1, 0));
    assert_ok(loader_start(mixed, 1, 0));
    const size_t size = TINY_CHANNELS * TINY_SIDE * TINY_SIDE;
    int between = 0;
    for (;;) {
        assert_ok(loader_next(plain, &one));
        assert_ok(loader_next(mixed, &two));
        assert_null(one.others);
        assert_int_equal(one.n, two.n);
        if (one.n == 0)
            break;
        for (int i = 0; i < one.n; i++) {
            const int j = one.n - 1 - i;
            const float share = two.shares[i];
            assert_int_equal(two.labels[i], one.labels[i]);
            assert_int_equal(two.others[i], one.labels[j]);
            assert_true(share == two.shares[j]);
            between += share > 0.01f && share < 0.99f;
            for (size_t p = 0; p < size; p++)
                assert_float_equal(two.images[(size_t)i * size + p],
                                   share * one.images[(size_t)i * size + p] +
                                       (1 - share) * one.images[(size_t)j * size + p],
                                   1e-5);
        }
        assert_true(two.n % 2 == 0 || two.shares[two.n / 2] == 1); /* it has no partner */
    }
    assert_true(between > 8);
    loader_destroy(plain);
    loader_destroy(mixed);
    dataset_release(&dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixup_gives_means_of_both),
        cmocka_unit_test(cutmix_exchanges_one_rectangle),
        cmocka_unit_test(shares_have_the_moments_of_their_distribution),
        cmocka_unit_test(a_loader_mixes_the_first_with_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
