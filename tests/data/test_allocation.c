/* test_allocation.c - every allocation of every reader fails once (failing.h): a clean status,
 * nothing left. With sanitizers, leaks are found as well. */
#include "failing.h"
#include "images.h"
#include "support.h"
#include "tiny.h"

#include <archive.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/duplicates.h"
#include "data/loader.h"

/* ---- what is done ---- */

static int left_out; /* records, of the set that was opened last */

/* Open a set, hold images out, count equal ones, take a batch. */
static enum retort_status open_and_read(const char *specification, const char *folder)
{
    const struct dataset_options options = {.val = 1, .limit = 9, .skip_bad = true, .verify = true};
    const struct loader_options loading = {
        .batch = 3, .shuffle = true, .flip = true, .crop = 2, .rotation = 5, .threads = 1};
    struct dataset dataset = {0};
    struct duplicates duplicates;
    struct loader *loader = NULL;
    struct batch batch;
    enum retort_status status;
    (void)folder;
    TRY(dataset_open(specification, &options, &dataset));
    left_out = dataset.skipped.count + dataset.left_out;
    TRY_DONE(duplicates_count(&dataset, &duplicates));
    TRY_DONE(loader_create(&dataset, true, &loading, &loader));
    TRY_DONE(loader_start(loader, 0, 0));
    status = loader_next(loader, &batch);
done:
    loader_destroy(loader);
    dataset_release(&dataset);
    return status;
}

static enum retort_status convert(const char *specification, const char *folder)
{
    const struct dataset_options options = {.skip_bad = true};
    struct dataset dataset = {0};
    TRY(dataset_convert(specification, &options, folder, &dataset));
    left_out = dataset.skipped.count;
    dataset_release(&dataset);
    return RETORT_OK;
}

typedef enum retort_status action(const char *specification, const char *folder);

/* What a conversion leaves: nothing, or a whole shard. Removes it. */
static void check_folder(const char *specification, long n, const char *folder)
{
    static const char *const names[] = {
        "shard.json", "train.pixels", "test.pixels", "train.labels", "test.labels",
        "train.sums", "test.sums",    "val.pixels",  "val.labels",   "val.sums"};
    char text[400];
    struct dataset dataset;
    if (!file_exists(folder))
        return;
    snprintf(text, sizeof(text), "shard:%s", folder);
    if (dataset_open(text, &(struct dataset_options){.verify = true}, &dataset) != RETORT_OK)
        fail_msg("%s: allocation %ld failed: no shard is left: %s", specification, n,
                 retort_message());
    dataset_release(&dataset);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(text, sizeof(text), "%s/%s", folder, names[i]);
        unlink(text);
    }
    assert_int_equal(rmdir(folder), 0);
}

/* An allocation that nobody needs may fail without harm; any other is out of memory. */
static bool try_one(const char *specification, action *act, const char *folder, long n,
                    bool stays_out)
{
    static int usual; /* records that are left out because they are bad */
    failing_begin(n, stays_out);
    enum retort_status status = act(specification, folder);
    const bool failed = failing_end();
    if (!failed)
        assert_ok(status);
    if (n < 0)
        usual = left_out;
    if (status == RETORT_OK && left_out != usual)
        fail_msg("%s: allocation %ld failed, and a record is left out", specification, n);
    if (status != RETORT_OK && status != RETORT_MEMORY)
        fail_msg("%s: allocation %ld failed, which gave status %d (%s)", specification, n, status,
                 retort_message());
    if (status == RETORT_MEMORY && !strstr(retort_message(), "memory"))
        fail_msg("%s: allocation %ld failed: \"%s\"", specification, n, retort_message());
    check_folder(specification, n, folder);
    return failed;
}

static void try_all(const char *specification, action *act)
{
    static int number;
    char name[32];
    snprintf(name, sizeof(name), "converted-%d", number++);
    const char *folder = support_path(name);
    long n = 0;
    assert_false(try_one(specification, act, folder, -1, false)); /* none fails */
    for (int mode = 0; mode < 2; mode++) {
        for (n = 0; try_one(specification, act, folder, n, mode); n++)
            ;
    }
    assert_true(n > 10);
}

/* ---- sets ---- */

static const char *specify(const char *format, const char *path)
{
    static char text[400];
    snprintf(text, sizeof(text), "%s:%s", format, path);
    return text;
}

static void try_both(const char *specification)
{
    try_all(specification, open_and_read);
    try_all(specification, convert);
}

static void sets_of_idx_files(void **state)
{
    try_both(specify("fashion-mnist", tiny_folder(20, 10)));
}

static void write_cifar(const char *folder)
{
    enum { RECORD = 1 + 3072, CLASSES = 10, BATCHES = 5, BATCH = 3 };
    static const char *const batches[BATCHES] = {"data_batch_1.bin", "data_batch_2.bin",
                                                 "data_batch_3.bin", "data_batch_4.bin",
                                                 "data_batch_5.bin"};
    static unsigned char records[BATCHES * BATCH * RECORD];
    struct images_file files[BATCHES + 2];
    char names[100] = "";
    for (int i = 0; i < BATCHES * BATCH; i++) {
        if (i < CLASSES)
            snprintf(names + strlen(names), sizeof(names) - strlen(names), "c%d\n", i);
        records[i * RECORD] = (unsigned char)(i == 12 ? 200 : i % CLASSES); /* one is bad */
        memset(records + i * RECORD + 1, 20 * i, RECORD - 1);
    }
    for (int i = 0; i < BATCHES; i++)
        files[i] = (struct images_file){.name = batches[i],
                                        .bytes = {records + i * BATCH * RECORD, BATCH * RECORD}};
    files[BATCHES] =
        (struct images_file){.name = "test_batch.bin", .bytes = {records, sizeof(records)}};
    files[BATCHES + 1] = (struct images_file){.name = "batches.meta.txt",
                                              .bytes = {(unsigned char *)names, strlen(names)}};
    char path[300];
    images_write_folder(folder, files, BATCHES + 2);
    snprintf(path, sizeof(path), "%s.tar.gz", folder);
    images_write_tar(path, ARCHIVE_FILTER_GZIP, files, BATCHES + 2);
}

static void sets_of_cifar_records(void **state)
{
    const char *folder = support_path("cifar");
    write_cifar(folder);
    try_both(specify("cifar10", folder));
    try_both(specify("cifar10", support_path("cifar.tar.gz")));
}

/* PNG and JPEG files of two classes, one of them bad. */
static int make_images(struct images_file *files)
{
    static const char *const names[] = {"train/a/1.png", "train/a/2.jpg", "train/a/3.png",
                                        "train/b/1.png", "train/b/2.jpg", "val/a/1.png",
                                        "val/b/1.png"};
    enum { COUNT = sizeof(names) / sizeof(names[0]) };
    static uint8_t pixels[4 * 12 * 12];
    for (int i = 0; i < COUNT; i++) {
        memset(pixels, 10 + 20 * i, sizeof(pixels));
        files[i] = (struct images_file){.name = names[i]};
        files[i].bytes = i == 1   ? images_jpeg(pixels, 12, 12, 4, false)
                         : i == 4 ? images_jpeg(pixels, 12, 12, 3, true)
                                  : images_png(pixels, 12, 12, 3);
    }
    files[COUNT] = (struct images_file){.name = "train/b/bad.png", .bytes = {malloc(3), 3}};
    memcpy(files[COUNT].bytes.data, "bad", 3);
    return COUNT + 1;
}

static void sets_of_image_files(void **state)
{
    struct images_file files[10];
    int count = make_images(files);
    const char *folder = support_path("images"), *archive = support_path("images.tar.xz");
    images_write_folder(folder, files, count);
    images_write_tar(archive, ARCHIVE_FILTER_XZ, files, count);
    try_both(specify("folder", folder));
    try_both(specify("folder", archive));
    char inner[300];
    snprintf(inner, sizeof(inner), "%s/train", folder); /* where a share is held out */
    try_both(specify("folder", inner));
    for (int i = 0; i < count; i++)
        free(files[i].bytes.data);
}

/* With images to choose by, and with a remark: those of test have no labels. */
static void sets_of_three_parts(void **state)
{
    struct images_file files[12];
    const int count = make_images(files);
    const char *folder = support_path("three-parts");
    files[count] = (struct images_file){.name = "test/a/1.png", .bytes = files[0].bytes};
    files[count + 1] = (struct images_file){.name = "test/b/1.png", .bytes = files[3].bytes};
    images_write_folder(folder, files, count + 2);
    try_all(specify("folder", folder), convert);
    folder = support_path("without-labels");
    files[count].name = "test/1.png";
    images_write_folder(folder, files, count + 1);
    try_all(specify("folder", folder), convert);
    for (int i = 0; i < count; i++)
        free(files[i].bytes.data);
}

static void tiny_imagenet(void **state)
{
    static char classes[] = "a\nb\n", names[] = "b\tbeetle\n",
                annotations[] = "1.png\ta\n2.png\tb\n";
    struct images_file files[14];
    int count = make_images(files);
    files[5].name = "val/images/1.png";
    files[6].name = "val/images/2.png";
    files[count] = (struct images_file){.name = "wnids.txt"};
    files[count].bytes = (struct file_bytes){(unsigned char *)classes, strlen(classes)};
    files[count + 1] = (struct images_file){.name = "words.txt"};
    files[count + 1].bytes = (struct file_bytes){(unsigned char *)names, strlen(names)};
    files[count + 2] = (struct images_file){.name = "val/val_annotations.txt"};
    files[count + 2].bytes = (struct file_bytes){(unsigned char *)annotations, strlen(annotations)};
    const char *folder = support_path("tiny"), *archive = support_path("tiny.tar");
    images_write_folder(folder, files, count + 3);
    images_write_tar(archive, ARCHIVE_FILTER_NONE, files, count + 3);
    try_both(specify("tiny-imagenet", folder));
    try_both(specify("tiny-imagenet", archive));
    for (int i = 0; i < count; i++)
        free(files[i].bytes.data);
}

static void imagenet(void **state)
{
    enum { EACH = 3, ROW = 768 };
    static uint8_t rows[EACH * ROW];
    for (int i = 0; i < EACH * ROW; i++)
        rows[i] = (uint8_t)(i % 251);
    static char map[] = "n01 1 kit_fox\n";
    const int64_t labels[EACH] = {1, 2, 1};
    struct file_bytes data = images_npy("|u1", "(3, 768)", rows, sizeof(rows));
    struct file_bytes numbers = images_npy("<i8", "(3,)", labels, sizeof(labels));
    const struct images_file files[] = {{.name = "data.npy", .bytes = data},
                                        {.name = "labels.npy", .bytes = numbers}};
    const char *folder = support_path("imagenet");
    assert_ok(file_make_folder(folder));
    for (int i = 1; i <= 11; i++) {
        char path[300];
        if (i <= 10)
            snprintf(path, sizeof(path), "%s/train_data_batch_%d.npz", folder, i);
        else
            snprintf(path, sizeof(path), "%s/val_data.npz", folder);
        images_write_zip(path, i % 2, files, 2);
    }
    assert_ok(file_write(support_path("imagenet/map_clsloc.txt"), map, strlen(map)));
    try_both(specify("imagenet16", folder));
    free(data.data);
    free(numbers.data);
}

static void shards(void **state)
{
    struct images_file files[10];
    int count = make_images(files);
    char specification[400];
    const char *folder = support_path("for-a-shard"), *made = support_path("made");
    struct dataset dataset;
    images_write_folder(folder, files, count);
    const struct dataset_options options = {.skip_bad = true};
    assert_ok(dataset_convert(specify("folder", folder), &options, made, &dataset));
    dataset_release(&dataset);
    try_all(specify("shard", made), open_and_read);
    snprintf(specification, sizeof(specification), "folder:%s", made);
    try_all(specification, open_and_read);
    for (int i = 0; i < count; i++)
        free(files[i].bytes.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_idx_files),
        cmocka_unit_test(sets_of_cifar_records),
        cmocka_unit_test(sets_of_image_files),
        cmocka_unit_test(sets_of_three_parts),
        cmocka_unit_test(tiny_imagenet),
        cmocka_unit_test(imagenet),
        cmocka_unit_test(shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
