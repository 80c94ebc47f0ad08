/* test_teacher_cache.c - rows come back as halves, and only rows that were written whole; a cache
 * of another key is begun anew; a disk without room is refused before anything is written. What a
 * training does with it is in test_cached_training.c. */
#include "support.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/teacher_cache.h"

enum { TEACHERS = 2, IMAGES = 5, VIEWS = 3, CLASSES = 7 };
static const struct cache_key key = {TEACHERS, IMAGES, VIEWS, CLASSES, 42};

static float number(int teacher, int image, int view, int c)
{
    return (float)(teacher * 1000 + image * 100 + view * 10 + c) / 7 - 30;
}

static void put(struct teacher_cache *cache, int teacher, int image, int view)
{
    float row[CLASSES];
    for (int c = 0; c < CLASSES; c++)
        row[c] = number(teacher, image, view, c);
    cache_put(cache, teacher, image, view, row);
}

static struct teacher_cache *opened(const char *path, const struct cache_key *which, bool wanted)
{
    struct teacher_cache *cache;
    bool found = !wanted;
    assert_ok(cache_open(path, which, &cache, &found));
    assert_true(found == wanted);
    return cache;
}

static void every_row_comes_back_in_half_precision(void **state)
{
    const char *path = support_path("rows.cache");
    struct teacher_cache *cache = opened(path, &key, false);
    for (int t = 0; t < TEACHERS; t++)
        for (int i = 0; i < IMAGES; i++)
            for (int v = 0; v < VIEWS; v++) {
                assert_false(cache_has(cache, t, i, v));
                put(cache, t, i, v);
                assert_true(cache_has(cache, t, i, v));
            }
    cache_close(cache);
    cache = opened(path, &key, true);
    for (int t = 0; t < TEACHERS; t++)
        for (int i = 0; i < IMAGES; i++)
            for (int v = 0; v < VIEWS; v++) {
                float row[CLASSES];
                assert_true(cache_has(cache, t, i, v));
                cache_get(cache, t, i, v, row);
                for (int c = 0; c < CLASSES; c++)
                    assert_float_equal(row[c], number(t, i, v, c),
                                       fabs((double)row[c]) / 2048 + 1e-7);
            }
    cache_close(cache);
}

static void numbers_beyond_half_precision_are_its_largest(void **state)
{
    struct teacher_cache *cache = opened(support_path("large.cache"), &key, false);
    float row[CLASSES] = {1e9f, -1e9f, 65504, 0, -0.0f, 1e-9f, 1};
    cache_put(cache, 0, 0, 0, row);
    cache_get(cache, 0, 0, 0, row);
    assert_true(row[0] == 65504 && row[1] == -65504 && row[2] == 65504);
    assert_true(row[3] == 0 && row[5] == 0 && row[6] == 1);
    cache_close(cache);
}

static void another_key_begins_anew(void **state)
{
    const char *path = support_path("keys.cache");
    struct cache_key others[] = {key, key, key, key, key};
    others[0].hash++;
    others[1].views++;
    others[2].images++;
    others[3].classes++;
    others[4].teachers++;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct teacher_cache *cache = opened(path, &key, false);
        put(cache, 1, 2, 1);
        cache_close(cache);
        cache = opened(path, &key, true);
        assert_true(cache_has(cache, 1, 2, 1));
        cache_close(cache);
        cache = opened(path, &others[i], false);
        assert_false(cache_has(cache, 1, 2, 1));
        cache_close(cache);
    }
}

/* Any byte of the row changed, and a file cut short. */
static void damaged_rows_are_missing(void **state)
{
    const char *path = support_path("damaged.cache");
    struct file_bytes bytes;
    struct teacher_cache *cache = opened(path, &key, false);
    put(cache, 0, 0, 0);
    cache_close(cache);
    assert_ok(file_read(path, 1 << 20, &bytes));
    for (size_t at = 4096; at < 4096 + 4 + 2 * CLASSES; at++) {
        bytes.data[at] ^= 4;
        assert_ok(file_write(path, bytes.data, bytes.size));
        cache = opened(path, &key, true);
        assert_false(cache_has(cache, 0, 0, 0));
        cache_close(cache);
        bytes.data[at] ^= 4;
    }
    assert_ok(file_write(path, bytes.data, bytes.size - 1));
    cache_close(opened(path, &key, false));
    free(bytes.data);
}

static void a_disk_without_room_is_refused(void **state)
{
    const struct cache_key huge = {100, INT_MAX, 1000, 1000, 1};
    const char *path = support_path("huge.cache");
    struct teacher_cache *cache;
    bool found;
    assert_fails(cache_open(path, &huge, &cache, &found), RETORT_IO, "the teacher cache needs");
    assert_false(file_exists(path));
    assert_fails(cache_open("/nowhere/x.cache", &key, &cache, &found), RETORT_IO, "cannot open");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_comes_back_in_half_precision),
        cmocka_unit_test(numbers_beyond_half_precision_are_its_largest),
        cmocka_unit_test(another_key_begins_anew),
        cmocka_unit_test(damaged_rows_are_missing),
        cmocka_unit_test(a_disk_without_room_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
