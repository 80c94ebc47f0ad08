/* test_imagenet.c - downsampled ImageNet in npz files, and what can be wrong with them. */
#include "images.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "data/dataset.h"
#include "data/image_set.h"

enum { FILES = 11, EACH = 6, CLASSES = 5, ROW = 3 * 16 * 16, ARRAYS = 3 };

/* Arrays of all eleven files: data, labels, mean. */
struct set {
    struct file_bytes arrays[FILES][ARRAYS];
    const char *names[FILES][ARRAYS]; /* in the order in which they are written; NULL: not */
};

static int label_of(int file, int image)
{
    return 1 + (file * EACH + image) * 3 % CLASSES;
}

static void fill_row(int file, int image, uint8_t *row)
{
    struct random_stream stream = random_stream(8, RANDOM_TEST, (uint32_t)file, (uint32_t)image);
    for (int i = 0; i < ROW; i++)
        row[i] = (uint8_t)random_bits(&stream, (uint64_t)i);
}

static void make_set(struct set *set)
{
    static uint8_t rows[EACH * ROW];
    for (int f = 0; f < FILES; f++) {
        int64_t labels[EACH];
        double mean[2] = {1, 2};
        for (int i = 0; i < EACH; i++) {
            fill_row(f, i, rows + i * ROW);
            labels[i] = label_of(f, i);
        }
        set->arrays[f][0] = images_npy("|u1", "(6, 768)", rows, sizeof(rows));
        set->arrays[f][1] = images_npy("<i8", "(6,)", labels, sizeof(labels));
        set->arrays[f][2] = images_npy("<f8", "(2,)", mean, sizeof(mean));
        set->names[f][0] = "data.npy";
        set->names[f][1] = "labels.npy";
        set->names[f][2] = f < 10 ? "mean.npy" : NULL;
    }
}

static void release_set(struct set *set)
{
    for (int f = 0; f < FILES; f++)
        for (int k = 0; k < ARRAYS; k++)
            free(set->arrays[f][k].data);
}

static void file_name(int file, char *name, size_t size)
{
    if (file < 10)
        snprintf(name, size, "train_data_batch_%d.npz", file + 1);
    else
        snprintf(name, size, "val_data.npz");
}

static const char *write_set(const struct set *set, bool stored, bool labels_first)
{
    static int number;
    char name[40];
    snprintf(name, sizeof(name), "set-%d", number++);
    const char *folder = support_path(name);
    assert_ok(file_make_folder(folder));
    for (int f = 0; f < FILES; f++) {
        struct images_file files[ARRAYS];
        int count = 0;
        for (int k = 0; k < ARRAYS; k++) {
            int from = labels_first ? ARRAYS - 1 - k : k;
            if (set->names[f][from])
                files[count++] = (struct images_file){.name = set->names[f][from],
                                                      .bytes = set->arrays[f][from]};
        }
        file_name(f, name, sizeof(name));
        char *path = file_join(folder, name);
        images_write_zip(path, stored, files, count);
        free(path);
    }
    return folder;
}

static enum retort_status open_at(const char *path, const struct dataset_options *options,
                                  struct dataset *dataset)
{
    char specification[300];
    snprintf(specification, sizeof(specification), "imagenet16:%s", path);
    return dataset_open(specification, options, dataset);
}

static void check(const struct dataset *dataset)
{
    uint8_t row[ROW];
    assert_int_equal(dataset->classes, CLASSES);
    assert_int_equal(dataset->train.count, 10 * EACH);
    assert_int_equal(dataset->test.count, EACH);
    assert_int_equal(dataset->train.height, 16);
    for (int f = 0; f < FILES; f++)
        for (int i = 0; i < EACH; i++) {
            const struct image_set *set = f < 10 ? &dataset->train : &dataset->test;
            int place = f < 10 ? f * EACH + i : i;
            fill_row(f, i, row);
            assert_memory_equal(image_set_view(set, (size_t)place), row, ROW);
            assert_int_equal(set->labels[place], label_of(f, i) - 1);
        }
}

static void every_way_to_pack_it_is_read(void **state)
{
    const struct dataset_options none = {0};
    struct set set;
    make_set(&set);
    for (int way = 0; way < 4; way++) {
        struct dataset dataset;
        float mean[4], std[4];
        assert_ok(open_at(write_set(&set, way & 1, way & 2), &none, &dataset));
        check(&dataset);
        assert_string_equal(dataset.class_names[4], "5");
        image_set_measure(&dataset.train, mean, std);
        assert_memory_equal(mean, dataset.mean, 3 * sizeof(float));
        assert_memory_equal(std, dataset.std, 3 * sizeof(float));
        dataset_release(&dataset);
    }
    release_set(&set);
}

static void a_map_names_the_classes(void **state)
{
    static const char map[] = "n01 2 kit_fox\nn02 1 setter\r\nrubbish\nn03 99 none\nn04 5 yak";
    const struct dataset_options none = {0};
    struct set set;
    struct dataset dataset;
    make_set(&set);
    const char *folder = write_set(&set, true, false);
    char *path = file_join(folder, "map_clsloc.txt");
    assert_ok(file_write(path, map, sizeof(map) - 1));
    assert_ok(open_at(folder, &none, &dataset));
    assert_string_equal(dataset.class_names[0], "setter");
    assert_string_equal(dataset.class_names[1], "kit_fox");
    assert_string_equal(dataset.class_names[2], "3");
    assert_string_equal(dataset.class_names[4], "yak");
    dataset_release(&dataset);
    free(path);
    release_set(&set);
}

/* ---- damage ---- */

enum { DATA, LABELS };

static const struct {
    int file, array;
    const char *type, *shape; /* the array instead; NULL: it is missing */
    const char *message;
} damages[] = {
    {2, DATA, NULL, NULL, "train_data_batch_3.npz: data.npy: no array data.npy found"},
    {10, LABELS, NULL, NULL, "val_data.npz: no array labels.npy found"},
    {0, DATA, "|u1", "(6, 3072)", "train_data_batch_1.npz: data.npy: 2 dimensions (6, 3072)"},
    {0, DATA, "|u1", "(4608,)", "1 dimensions (4608, 0) of type u1 found, (images, 768) of u1"},
    {0, DATA, "<f4", "(6, 768)", "(6, 768) of type f4 found"},
    {0, DATA, "|u1", "(7, 768)", "train_data_batch_1.npz: data.npy: image 6 of 7: ended"},
    {0, DATA, "|u1", "(5, 768)", "data.npy: more bytes follow its numbers"},
    {0, DATA, "|u1", "(0, 768)", "0 images found, 1 to 2000000 wanted"},
    {0, DATA, "|u1", "(2000001, 768)", "2000001 images found"},
    {3, LABELS, "<i8", "(5,)", "train_data_batch_4.npz: labels.npy: 5 labels found, 6 wanted"},
    {3, LABELS, "<f8", "(6,)", "labels.npy: 1 dimensions of type f8 found"},
    {3, LABELS, "<i4", "(6,)", "labels.npy: more bytes follow"},
    {3, LABELS, "<i8", "(6,1)", "labels.npy: 2 dimensions"},
    {3, LABELS, "|O", "(6,)", "labels.npy: header \"{'descr': '|O'"},
};

static void damaged_arrays_are_refused(void **state)
{
    const struct dataset_options options = {.skip_bad = true};
    for (size_t row = 0; row < sizeof(damages) / sizeof(damages[0]); row++) {
        struct set set;
        struct dataset dataset;
        int f = damages[row].file, k = damages[row].array;
        make_set(&set);
        struct file_bytes *array = &set.arrays[f][k];
        if (damages[row].type) {
            struct file_bytes other = images_npy(damages[row].type, damages[row].shape,
                                                 array->data + 128, array->size - 128);
            free(array->data);
            *array = other;
        } else {
            set.names[f][k] = NULL;
        }
        assert_fails(open_at(write_set(&set, row % 2, false), &options, &dataset), RETORT_FORMAT,
                     damages[row].message);
        release_set(&set);
    }
}

static void set_label(struct set *set, int file, int image, int64_t label)
{
    memcpy(set->arrays[file][LABELS].data + 128 + 8 * image, &label, 8);
}

static void labels_out_of_range_are_errors_or_listed(void **state)
{
    static const struct {
        int file;
        int64_t label;
        const char *message;
    } rows[] = {
        {4, 0, "train_data_batch_5.npz: labels.npy: record 2: label 0 found, 1 to 1000 wanted"},
        {4, 1001, "record 2: label 1001 found"},
        {4, -1, "record 2: label -1 found"},
        {10, 6, "val_data.npz: labels.npy: record 2: label 6 found, 1 to 5 wanted"},
    };
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct dataset_options options = {0};
        struct set set;
        struct dataset dataset;
        make_set(&set);
        set_label(&set, rows[row].file, 2, rows[row].label);
        if (rows[row].file == 10) /* all classes must stay there: 0 1 . 4 2 0, of which 1 twice */
            set_label(&set, 10, 5, label_of(10, 2));
        const char *folder = write_set(&set, true, false);
        assert_fails(open_at(folder, &options, &dataset), RETORT_FORMAT, rows[row].message);
        options.skip_bad = true;
        assert_ok(open_at(folder, &options, &dataset));
        assert_int_equal(dataset.skipped.count, 1);
        assert_int_equal(dataset.train.count + dataset.test.count, 11 * EACH - 1);
        float mean[4], std[4];
        image_set_measure(&dataset.train, mean, std); /* of those that are left */
        assert_memory_equal(mean, dataset.mean, 3 * sizeof(float));
        assert_memory_equal(std, dataset.std, 3 * sizeof(float));
        uint8_t next[ROW];
        fill_row(rows[row].file, 3, next);
        const struct image_set *images = rows[row].file == 10 ? &dataset.test : &dataset.train;
        assert_memory_equal(image_set_view(images, rows[row].file == 10 ? 2 : 26), next, ROW);
        dataset_release(&dataset);
        release_set(&set);
    }
}

static void classes_without_images_are_refused(void **state)
{
    const struct dataset_options none = {0};
    struct set set;
    struct dataset dataset;
    make_set(&set);
    set_label(&set, 4, 2, 7);
    assert_fails(open_at(write_set(&set, true, false), &none, &dataset), RETORT_FORMAT,
                 "class \"6\": no training images found");
    set_label(&set, 4, 2, 6);
    assert_fails(open_at(write_set(&set, true, false), &none, &dataset), RETORT_FORMAT,
                 "class \"6\": no test images found");
    release_set(&set);
}

static void damaged_files_are_refused(void **state)
{
    const struct dataset_options none = {0};
    struct set set;
    struct dataset dataset;
    make_set(&set);
    for (int stored = 0; stored < 2; stored++)
        for (int damage = 0; damage < 5; damage++) {
            const char *folder = write_set(&set, stored, false);
            char *path = file_join(folder, "train_data_batch_2.npz");
            struct file_bytes bytes;
            assert_ok(file_read(path, SIZE_MAX / 2, &bytes));
            if (damage == 0) /* in the middle of the images: only the checksum tells */
                bytes.data[1000] ^= 0x55;
            size_t size = damage < 2    ? bytes.size - (size_t)damage
                          : damage == 2 ? bytes.size / 2
                                        : 0;
            if (damage < 4)
                assert_ok(file_write(path, bytes.data, size));
            else
                assert_ok(file_remove(path));
            assert_fails(open_at(folder, &none, &dataset), damage < 4 ? RETORT_FORMAT : RETORT_IO,
                         "train_data_batch_2.npz: ");
            free(bytes.data);
            free(path);
        }
    release_set(&set);
    assert_fails(open_at("/dev/null", &none, &dataset), RETORT_IO, "a folder wanted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_pack_it_is_read),
        cmocka_unit_test(a_map_names_the_classes),
        cmocka_unit_test(damaged_arrays_are_refused),
        cmocka_unit_test(labels_out_of_range_are_errors_or_listed),
        cmocka_unit_test(classes_without_images_are_refused),
        cmocka_unit_test(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
