/* test_image_set.c - what is held out, and what limits leave. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "data/image_set.h"

enum { COUNT = 103, CLASSES = 7, SIZE = 12 };

/* Image i is full of bytes i; its class is i * i % CLASSES, so that classes are of unequal size. */
static void make_set(struct image_set *set)
{
    assert_ok(image_set_make(set, COUNT, 3, 2, 2));
    for (int i = 0; i < COUNT; i++) {
        memset(set->pixels + i * SIZE, i, SIZE);
        set->labels[i] = i * i % CLASSES;
    }
}

static int identity(const struct image_set *set, int image)
{
    const uint8_t *pixels = image_set_view(set, (size_t)image);
    for (int i = 0; i < SIZE; i++)
        assert_int_equal(pixels[i], pixels[0]);
    assert_int_equal(set->labels[image], pixels[0] * pixels[0] % CLASSES);
    return pixels[0];
}

static void count_classes(const struct image_set *set, int counts[CLASSES])
{
    memset(counts, 0, CLASSES * sizeof(*counts));
    for (int i = 0; i < set->count; i++)
        counts[set->labels[i]]++;
}

static void every_image_is_in_one_of_the_two_and_classes_have_equal_shares(void **state)
{
    for (int held = 1; held < COUNT; held += 17) {
        struct image_set train, val = {0};
        int all[CLASSES], left[CLASSES], seen[COUNT] = {0}, before = -1;
        make_set(&train);
        count_classes(&train, all);
        assert_ok(image_set_split(&train, CLASSES, held, 3, &val));
        assert_int_equal(val.count, held);
        assert_int_equal(train.count, COUNT - held);
        for (int i = 0; i < val.count; i++) {
            assert_true(identity(&val, i) > before); /* the order is kept */
            before = identity(&val, i);
            seen[before]++;
        }
        before = -1;
        for (int i = 0; i < train.count; i++) {
            assert_true(identity(&train, i) > before);
            before = identity(&train, i);
            seen[before]++;
        }
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(seen[i], 1);
        count_classes(&val, left);
        for (int k = 0; k < CLASSES; k++) {
            double share = (double)all[k] * held / COUNT;
            assert_true(left[k] > share - 1 && left[k] < share + 1);
        }
        image_set_release(&val);
        image_set_release(&train);
    }
}

static void hold(uint64_t seed, bool *held)
{
    struct image_set train, val = {0};
    make_set(&train);
    assert_ok(image_set_split(&train, CLASSES, 30, seed, &val));
    for (int i = 0; i < val.count; i++)
        held[identity(&val, i)] = true;
    image_set_release(&val);
    image_set_release(&train);
}

static void the_seed_alone_decides_what_is_held_out(void **state)
{
    bool first[COUNT] = {0}, again[COUNT] = {0}, other[COUNT] = {0};
    hold(1, first);
    hold(1, again);
    hold(2, other);
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
}

static void a_limit_applies_to_what_is_left(void **state)
{
    struct image_set train, val = {0};
    int counts[CLASSES], all[CLASSES];
    make_set(&train);
    count_classes(&train, all);
    assert_ok(image_set_split(&train, CLASSES, 30, 1, &val));
    assert_ok(image_set_limit(&train, CLASSES, 4));
    count_classes(&train, counts);
    for (int k = 0; k < CLASSES; k++)
        assert_int_equal(counts[k], all[k] > 0 ? 4 : 0);
    for (int i = 0; i < train.count; i++)
        identity(&train, i);
    assert_int_equal(val.count, 30);
    image_set_release(&val);
    image_set_release(&train);
}

static void impossible_shares_are_refused(void **state)
{
    struct image_set train, val = {0};
    make_set(&train);
    assert_fails(image_set_split(&train, CLASSES, COUNT, 1, &val), RETORT_INVALID,
                 "val: 103 images found, 0 to 102 wanted");
    assert_fails(image_set_split(&train, CLASSES, -1, 1, &val), RETORT_INVALID, "val: -1");
    assert_ok(image_set_split(&train, CLASSES, 0, 1, &val));
    assert_int_equal(val.count, 0);
    assert_null(train.rows);
    image_set_release(&train);
}

static void sums_of_images_are_those_of_the_set(void **state)
{
    struct image_set set;
    struct image_sums sums = {0};
    float mean[4], std[4], wanted[4], wanted_std[4];
    uint8_t extra[SIZE];
    make_set(&set);
    memset(extra, 200, sizeof(extra));
    image_sums_add(&sums, extra, 3, 4);
    for (int i = 0; i < COUNT; i++)
        image_sums_add(&sums, image_set_view(&set, (size_t)i), 3, 4);
    image_sums_take(&sums, extra, 3, 4);
    image_sums_finish(&sums, 3, mean, std);
    image_set_measure(&set, wanted, wanted_std);
    assert_memory_equal(mean, wanted, 3 * sizeof(float));
    assert_memory_equal(std, wanted_std, 3 * sizeof(float));
    assert_float_equal(mean[0], 51.0 / 255, 1e-6); /* of 0 .. 102 */
    image_set_release(&set);
}

/* Planes of more than 2^16 values, all 255, where sums in 32 bits would not do. */
static void large_planes_are_summed_exactly(void **state)
{
    enum { PLANE = 300 * 1000 };
    uint8_t *pixels = malloc(PLANE);
    struct image_sums sums = {0};
    float mean, std;
    assert_non_null(pixels);
    memset(pixels, 255, PLANE);
    image_sums_add(&sums, pixels, 1, PLANE);
    assert_true(sums.squares[0] == UINT64_C(65025) * PLANE);
    image_sums_finish(&sums, 1, &mean, &std);
    assert_true(mean == 1 && std == 0);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_image_is_in_one_of_the_two_and_classes_have_equal_shares),
        cmocka_unit_test(the_seed_alone_decides_what_is_held_out),
        cmocka_unit_test(a_limit_applies_to_what_is_left),
        cmocka_unit_test(impossible_shares_are_refused),
        cmocka_unit_test(sums_of_images_are_those_of_the_set),
        cmocka_unit_test(large_planes_are_summed_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
