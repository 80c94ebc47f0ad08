/* test_reference.c - published figures are shown for the pair that they belong to, and no other. */
#include "support.h"

#include "report/reference.h"

static void known_pairs_are_found(void **state)
{
    assert_string_equal(reference_find("cifar100", "resnet:depth=32", "resnet:depth=8"),
                        "ResNet-32 to ResNet-8");
    assert_string_equal(reference_find("cifar100", "vgg:bn=false,depth=11", "vgg:depth=6,bn=false"),
                        "VGG-11 to VGG-6 without batch norm");
}

static void similar_pairs_are_others(void **state)
{
    assert_null(reference_find("fashion-mnist", "resnet:depth=32", "resnet:depth=8"));
    assert_null(reference_find("cifar100", "resnet:depth=32,width=2", "resnet:depth=8"));
    assert_null(reference_find("cifar100", "resnet:depth=3", "resnet:depth=8"));
    assert_null(reference_find("cifar100", "resnet:depth=320", "resnet:depth=8"));
    assert_null(reference_find("cifar100", "resnet", "resnet:depth=8"));
    assert_null(reference_find("cifar100", "resnet:depth=56", "resnet:depth=20"));
    assert_null(reference_find(NULL, NULL, NULL));
}

static void each_pair_is_added_once(void **state)
{
    json_t *data = json_object(), *runs = json_array();
    json_object_set_new(data, "runs", runs);
    for (int i = 0; i < 2; i++)
        json_array_append_new(runs, json_pack("{s:s, s:{s:[{s:s}], s:{s:s}}}", "data", "cifar100",
                                              "summary", "teachers", "network",
                                              "resnet:depth=56,shortcut=B", "student", "network",
                                              "resnet:depth=20,shortcut=B"));
    assert_ok(reference_add(data));
    const json_t *references = json_object_get(data, "references");
    assert_int_equal(json_array_size(references), 1);
    assert_int_equal(json_array_size(json_object_get(json_array_get(references, 0), "runs")), 2);
    json_decref(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_pairs_are_found),
        cmocka_unit_test(similar_pairs_are_others),
        cmocka_unit_test(each_pair_is_added_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
