/* test_loading.c - what a recipe says about data arrives at the loader. */
#include "support.h"

#include "train/loading.h"

static const char *const all[] = {"alternating-flip", "crop",  "rotate", "cutout",
                                  "jitter",           "mixup", "cutmix"};

static struct recipe_data usual(void)
{
    return (struct recipe_data){.augment = {7, (const char **)all},
                                .pad = 3,
                                .border = BORDER_ZERO,
                                .rotation = 10,
                                .cutout = 6,
                                .jitter = 0.25,
                                .mixup = 0.3,
                                .cutmix = 0.7,
                                .val = 50,
                                .size = 48,
                                .held_out = 0.25,
                                .skip_bad = true,
                                .limit = 7,
                                .test_limit = 8,
                                .loader_threads = 2};
}

static void every_augmentation_is_passed_on(void **state)
{
    const struct recipe_data data = usual();
    const struct loader_options found = loading_train(&data, 16, 5);
    assert_true(found.flip);
    assert_true(found.alternate);
    assert_int_equal(found.crop, 3);
    assert_true(found.zero_border);
    assert_true(found.rotation == 10);
    assert_int_equal(found.cutout, 6);
    assert_true(found.jitter == 0.25);
    assert_true(found.mixup == 0.3);
    assert_true(found.cutmix == 0.7);
    assert_int_equal(found.batch, 16);
    assert_int_equal(found.seed, 5);
    assert_int_equal(found.threads, 2);
    assert_true(found.shuffle);
    assert_true(found.drop_last);
}

static void what_is_not_named_is_not_done(void **state)
{
    struct recipe_data data = usual();
    data.augment.count = 0;
    data.border = BORDER_REFLECT;
    struct loader_options found = loading_train(&data, 16, 5);
    assert_false(found.flip || found.alternate || found.crop || found.zero_border);
    assert_false(found.rotation > 0 || found.cutout || found.jitter > 0);
    assert_false(found.mixup > 0 || found.cutmix > 0);
    const char *flip[] = {"flip"};
    data.augment = (struct text_list){1, flip};
    found = loading_train(&data, 16, 5);
    assert_true(found.flip);
    assert_false(found.alternate);
}

static void the_data_set_gets_limits_and_the_held_out_part(void **state)
{
    const struct recipe_data data = usual();
    const struct dataset_options found = loading_dataset(&data);
    assert_int_equal(found.val, 50);
    assert_int_equal(found.size, 48);
    assert_int_equal(found.limit, 7);
    assert_int_equal(found.test_limit, 8);
    assert_true(found.held_out == 0.25);
    assert_true(found.skip_bad);
}

static void every_augmentation_counts_in_the_fingerprint(void **state)
{
    struct recipe_data rows[8];
    uint64_t hashes[8];
    for (int i = 0; i < 8; i++)
        rows[i] = usual();
    rows[1].pad++;
    rows[2].border = BORDER_REFLECT;
    rows[3].rotation++;
    rows[4].cutout++;
    rows[5].jitter *= 2;
    rows[6].augment.count--;
    rows[7].augment.items++;
    rows[7].augment.count--;
    for (int i = 0; i < 8; i++) {
        hashes[i] = loading_hash(1, &rows[i]);
        for (int k = 0; k < i; k++)
            assert_true(hashes[i] != hashes[k]);
    }
    const struct recipe_data again = usual();
    assert_true(loading_hash(1, &again) == hashes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_augmentation_is_passed_on),
        cmocka_unit_test(what_is_not_named_is_not_done),
        cmocka_unit_test(every_augmentation_counts_in_the_fingerprint),
        cmocka_unit_test(the_data_set_gets_limits_and_the_held_out_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
