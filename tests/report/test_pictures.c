/* test_pictures.c - tensors become what a page can show. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"
#include "report/pictures.h"

static void base64_is_that_of_rfc_4648(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},          {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "//79"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char *text = pictures_base64((const uint8_t *)pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(text, pairs[i][1]);
        free(text);
    }
}

static void large_matrices_shrink_to_means_of_blocks(void **state)
{
    const float matrix[] = {1, 3, 10, 5, 7, 20, 0, 0, 30};
    float shown[9];
    int size[2];
    pictures_shrink(matrix, 3, 3, 2, shown, size);
    assert_int_equal(size[0], 2);
    assert_int_equal(size[1], 2);
    /* The first block is one wide, the second two. */
    const float wanted[] = {1, 6.5f, 2.5f, 14.25f};
    assert_true(support_difference(shown, wanted, 4) < 1e-6);
    pictures_shrink(matrix, 3, 3, 64, shown, size);
    assert_int_equal(size[0], 3);
    assert_memory_equal(shown, matrix, sizeof(matrix));
}

static const char *write_exhibits(const char *name, struct safetensor *tensors, int count)
{
    const char *folder = support_path(name);
    json_t *metadata = json_pack("{s:s, s:s, s:s}", "looked_at", "9", "helped", "2", "hurt", "1");
    assert_ok(file_make_folder(folder));
    char *path = file_join(folder, "exhibits.safetensors");
    assert_ok(safetensors_write(path, tensors, count, metadata));
    free(path);
    json_decref(metadata);
    return folder;
}

static struct safetensor matrix(const char *name, const float *data)
{
    return (struct safetensor){name, SAFETENSORS_F32, 2, {2, 2}, data, 16};
}

static void matrices_are_compared_with_the_teachers(void **state)
{
    const float teacher[] = {0, 3, 0, 4}, twice[] = {0, 6, 0, 8};
    struct safetensor tensors[] = {matrix("gram.a-b.teacher-1", teacher),
                                   matrix("gram.a-b.student", twice)};
    json_t *run = json_object();
    assert_ok(pictures_read(write_exhibits("grams", tensors, 2), run));
    const json_t *gram = json_array_get(json_object_get(run, "grams"), 0);
    assert_string_equal(json_string_value(json_object_get(gram, "pair")), "a-b");
    assert_true(json_number_value(json_object_get(gram, "highest")) == 4);
    const json_t *networks = json_object_get(gram, "networks");
    const json_t *student = json_object_get(networks, "student");
    assert_true(fabs(json_number_value(json_object_get(student, "distance")) - 1) < 1e-6);
    assert_null(json_object_get(json_object_get(networks, "teacher-1"), "distance"));
    /* 0, and all that is beyond the teacher's highest. */
    assert_string_equal(json_string_value(json_object_get(student, "pixels")), "AP8A/w==");
    json_decref(run);
}

static void samples_tell_what_networks_said(void **state)
{
    const uint8_t pixels[] = {1, 2, 3, 4};
    const int32_t label = 1, index = 7;
    const float said[] = {0.25f, NAN, 0.75f};
    struct safetensor tensors[] = {
        {"images", SAFETENSORS_U8, 4, {1, 1, 2, 2}, pixels, 4},
        {"labels", SAFETENSORS_I32, 1, {1}, &label, 4},
        {"indices", SAFETENSORS_I32, 1, {1}, &index, 4},
        {"probabilities.student", SAFETENSORS_F32, 2, {1, 3}, said, 12},
    };
    json_t *run = json_object();
    assert_ok(pictures_read(write_exhibits("samples", tensors, 4), run));
    const json_t *samples = json_object_get(run, "samples");
    assert_int_equal(json_integer_value(json_object_get(samples, "helped")), 2);
    const json_t *image = json_array_get(json_object_get(samples, "images"), 0);
    assert_int_equal(json_integer_value(json_object_get(image, "index")), 7);
    const json_t *student = json_object_get(json_object_get(image, "said"), "student");
    assert_int_equal(json_integer_value(json_object_get(student, "class")), 2);
    json_decref(run);
}

static void exhibits_that_do_not_fit_together_are_refused(void **state)
{
    const uint8_t pixels[] = {1, 2, 3, 4};
    struct safetensor tensors[] = {{"images", SAFETENSORS_U8, 4, {1, 1, 2, 2}, pixels, 4}};
    json_t *run = json_object();
    assert_fails(pictures_read(write_exhibits("unfit", tensors, 1), run), RETORT_FORMAT,
                 "labels and indices");
    json_decref(run);
}

static void a_run_without_exhibits_is_fine(void **state)
{
    json_t *run = json_object();
    assert_ok(pictures_read(support_path("nowhere"), run));
    assert_int_equal(json_object_size(run), 0);
    json_decref(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_is_that_of_rfc_4648),
        cmocka_unit_test(large_matrices_shrink_to_means_of_blocks),
        cmocka_unit_test(matrices_are_compared_with_the_teachers),
        cmocka_unit_test(samples_tell_what_networks_said),
        cmocka_unit_test(exhibits_that_do_not_fit_together_are_refused),
        cmocka_unit_test(a_run_without_exhibits_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
