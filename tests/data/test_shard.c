/* test_shard.c - converted sets: equal to what they were made of, mapped, never much in memory. */
#include "images.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/random.h"
#include "data/dataset.h"
#include "data/format.h"
#include "data/duplicates.h"
#include "data/image_set.h"
#include "data/image_writer.h"
#include "data/loader.h"
#include "data/shard.h"

enum { SIDE = 16, CLASSES = 4, TRAIN = 10, TEST = 3 };

/* A folder of PNG files, random, so that all images differ. */
static const char *make_folder(bool with_bad)
{
    static int number;
    char name[64];
    uint8_t pixels[SIDE * SIDE * 3];
    struct images_file files[CLASSES * (TRAIN + TEST) + 1];
    static char names[CLASSES * (TRAIN + TEST)][40];
    int count = 0;
    for (int k = 0; k < CLASSES; k++)
        for (int i = 0; i < TRAIN + TEST; i++, count++) {
            struct random_stream stream = random_stream(2, RANDOM_TEST, (uint32_t)count, 0);
            for (int p = 0; p < SIDE * SIDE * 3; p++)
                pixels[p] = (uint8_t)random_bits(&stream, (uint64_t)p);
            snprintf(names[count], sizeof(names[0]), "%s/%c/%d.png", i < TRAIN ? "train" : "val",
                     'a' + k, i);
            files[count] = (struct images_file){.name = names[count],
                                                .bytes = images_png(pixels, SIDE, SIDE, 3)};
        }
    snprintf(name, sizeof(name), "folder-%d", number++);
    const char *path = support_path(name);
    files[count] =
        (struct images_file){.name = "train/b/3a.png", .bytes = {(unsigned char *)"bad", 3}};
    images_write_folder(path, files, count + with_bad);
    for (int i = 0; i < count; i++)
        free(files[i].bytes.data);
    return path;
}

static const char *specify(const char *format, const char *path)
{
    static char texts[4][320];
    static int next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof(texts[0]), "%s:%s", format, path);
    return text;
}

static void assert_sets_equal(const struct image_set *a, const struct image_set *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_memory_equal(a->labels, b->labels, (size_t)a->count * sizeof(int));
    for (int i = 0; i < a->count; i++)
        assert_memory_equal(image_set_view(a, (size_t)i), image_set_view(b, (size_t)i),
                            image_set_size(a));
}

static void assert_equal(const struct dataset *a, const struct dataset *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->classes, b->classes);
    for (int k = 0; k < a->classes; k++)
        assert_string_equal(a->class_names[k], b->class_names[k]);
    assert_memory_equal(a->mean, b->mean, sizeof(a->mean));
    assert_memory_equal(a->std, b->std, sizeof(a->std));
    assert_sets_equal(&a->train, &b->train);
    assert_sets_equal(&a->val, &b->val);
    assert_sets_equal(&a->test, &b->test);
}

static void a_converted_set_equals_the_original(void **state)
{
    const struct dataset_options options = {.size = SIDE};
    const char *folder = make_folder(false), *made = support_path("equal");
    struct dataset original, converted, by_name;
    assert_ok(dataset_open(specify("folder", folder), &options, &original));
    assert_ok(dataset_convert(specify("folder", folder), &options, made, &converted));
    assert_int_equal(converted.train.mapped, CLASSES * TRAIN * 3 * SIDE * SIDE);
    assert_equal(&original, &converted);
    dataset_release(&converted);
    assert_ok(dataset_open(specify("shard", made), &(struct dataset_options){0}, &converted));
    assert_equal(&original, &converted);
    assert_ok(dataset_open(specify("folder", made), &options, &by_name));
    assert_equal(&original, &by_name);
    dataset_release(&by_name);
    dataset_release(&converted);
    dataset_release(&original);
    assert_fails(dataset_open(specify("mnist", made), &(struct dataset_options){0}, &converted),
                 RETORT_FORMAT, "equal: a shard of folder found, mnist wanted");
    assert_fails(dataset_convert(specify("shard", made), &options, "x", &converted), RETORT_INVALID,
                 "is a shard already");
    const struct dataset_options other = {.size = 8};
    static const char *const formats[] = {"folder", "shard"}; /* as recipes call it */
    for (int i = 0; i < 2; i++) {
        assert_ok(dataset_open(specify(formats[i], made), &options, &converted));
        dataset_release(&converted);
        assert_fails(dataset_open(specify(formats[i], made), &other, &converted), RETORT_INVALID,
                     "size: 8 found, the shard holds images of 16");
    }
}

static void limits_and_what_is_held_out_are_the_same_mapped(void **state)
{
    const struct dataset_options options = {.size = SIDE, .val = 6, .limit = 5, .test_limit = 2};
    const char *folder = make_folder(false), *made = support_path("limits");
    struct dataset original, converted;
    assert_ok(dataset_convert(specify("folder", folder), &options, made, &converted));
    assert_int_equal(converted.train.count, CLASSES * TRAIN); /* the whole */
    dataset_release(&converted);
    assert_ok(dataset_open(specify("folder", folder), &options, &original));
    assert_ok(dataset_open(specify("folder", made), &options, &converted));
    assert_int_equal(original.val.count, 6);
    assert_int_equal(original.train.count, CLASSES * 5);
    assert_int_equal(original.test.count, CLASSES * 2);
    assert_equal(&original, &converted);
    dataset_release(&original);
    dataset_release(&converted);
}

static void batches_are_the_same_mapped(void **state)
{
    const struct dataset_options options = {.size = SIDE};
    const struct loader_options loading = {
        .batch = 7, .seed = 1, .shuffle = true, .flip = true, .crop = 2, .threads = 3};
    const char *folder = make_folder(false), *made = support_path("batches");
    struct dataset sets[2];
    struct loader *loaders[2];
    assert_ok(dataset_open(specify("folder", folder), &options, &sets[0]));
    assert_ok(dataset_convert(specify("folder", folder), &options, made, &sets[1]));
    for (int k = 0; k < 2; k++) {
        assert_ok(loader_create(&sets[k], true, &loading, &loaders[k]));
        assert_ok(loader_start(loaders[k], 2, 0));
    }
    for (;;) {
        struct batch batches[2];
        for (int k = 0; k < 2; k++)
            assert_ok(loader_next(loaders[k], &batches[k]));
        assert_int_equal(batches[0].n, batches[1].n);
        if (batches[0].n == 0)
            break;
        assert_memory_equal(batches[0].images, batches[1].images,
                            7 * 3 * SIDE * SIDE * sizeof(float));
        assert_memory_equal(batches[0].labels, batches[1].labels, 7 * sizeof(int));
    }
    for (int k = 0; k < 2; k++) {
        loader_destroy(loaders[k]);
        dataset_release(&sets[k]);
    }
}

static void gaps_of_what_was_skipped_are_closed(void **state)
{
    struct dataset_options options = {.size = SIDE};
    const char *bad = make_folder(true), *good = make_folder(false);
    struct dataset original, converted;
    assert_fails(
        dataset_convert(specify("folder", bad), &options, support_path("gaps"), &converted),
        RETORT_FORMAT, "train/b/3a.png: neither's first bytes");
    assert_false(file_exists(support_path("gaps"))); /* whole or not at all */
    options.skip_bad = true;
    assert_ok(dataset_convert(specify("folder", bad), &options, support_path("gaps"), &converted));
    assert_int_equal(converted.skipped.count, 1);
    assert_ok(dataset_open(specify("folder", good), &options, &original));
    assert_equal(&original, &converted);
    dataset_release(&original);
    dataset_release(&converted);
}

/* ---- damage ---- */

static void write_text(const char *folder, const char *name, const char *text)
{
    char *path = file_join(folder, name);
    assert_ok(file_write(path, text, strlen(text)));
    free(path);
}

static void damaged_descriptions_are_refused(void **state)
{
    static const struct {
        const char *from, *to, *message;
    } rows[] = {
        {"retort.shard", "retort.other", "shard.json: format: retort.other found, retort.shard"},
        {"\"version\": 2", "\"version\": 3", "version: a whole number from 1 to 2 wanted"},
        {"\"version\": 2", "\"version\": 1", "version 1 found, which has no checksums; 2 wanted"},
        {"\"skipped\": 0", "\"skipped\": 1", "shard.json: damaged: checksum "},
        {"\"skipped\": 0", "\"skipped\": -1", "skipped: a whole number from 0"},
        {"\"held_out\": 0.0", "\"held_out\": 2", "held_out: a number from 0 to 1 wanted"},
        {"\"checksum\"", "\"other\"", "shard.json: damaged: checksum "},
        {"\"train.sums\"", "\"other\"", "found, one in the description wanted"},
        {"\"train\": 40", "\"train\": 41",
         "train.labels: 160 bytes found, its description wants 164"},
        {"\"test\": 12", "\"test\": 0", "test: a whole number from 1 to"},
        {"\"test\": 12", "\"test\": 1.5", "test: a whole number"},
        {"\"name\": \"folder\"", "\"name\": \"\"", "name: a text wanted"},
        {"  3,\n", "  5,\n", "shape: a whole number from 1 to 4 wanted"},
        {"  3,\n", "  1,\n", "mean: 1 numbers wanted"},
        {"  16,\n", "  17,\n", "train.pixels: 30720 bytes found, its description wants 32640"},
        {"\"mean\": [", "\"mean\": [7,", "mean: 3 numbers wanted"},
        {"\"a\"", "7", "classes: name 0 is no text"},
        {"  \"d\"\n", "  \"d\",\"e\",\"f\"\n", "shard.json: damaged: checksum "},
        {"\"c\",\n  \"d\"", "\"c\"", "train.labels: record 30 at byte 120: label 3 found, 0 to 2"},
        {"\"classes\"", "\"other\"", "classes: 0 names found"},
        {"{", "", "is no JSON"},
    };
    const struct dataset_options options = {.size = SIDE}, none = {0};
    const char *made = support_path("damage");
    char *path = file_join(made, "shard.json");
    struct dataset dataset;
    struct file_bytes text;
    assert_ok(dataset_convert(specify("folder", make_folder(false)), &options, made, &dataset));
    dataset_release(&dataset);
    assert_ok(file_read(path, 100000, &text));
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        char other[4096];
        const char *place = strstr((char *)text.data, rows[row].from);
        if (!place)
            fail_msg("not in the description: %s", rows[row].from);
        snprintf(other, sizeof(other), "%.*s%s%s", (int)(place - (char *)text.data),
                 (char *)text.data, rows[row].to, place + strlen(rows[row].from));
        write_text(made, "shard.json", other);
        enum retort_status status = dataset_open(specify("shard", made), &none, &dataset);
        assert_fails(status, RETORT_FORMAT, rows[row].message);
    }
    write_text(made, "shard.json", (char *)text.data);
    write_text(made, "test.pixels", "short");
    assert_fails(dataset_open(specify("shard", made), &none, &dataset), RETORT_FORMAT,
                 "test.pixels: 5 bytes found");
    free(text.data);
    free(path);
    assert_fails(dataset_open(specify("shard", support_path("nowhere")), &none, &dataset),
                 RETORT_IO, "nowhere/shard.json: cannot open");
}

/* Change one byte of a file. */
static void flip(const char *folder, const char *name, size_t offset)
{
    char *path = file_join(folder, name);
    int file = open(path, O_RDWR | O_CLOEXEC);
    unsigned char byte;
    assert_int_equal(pread(file, &byte, 1, (off_t)offset), 1);
    byte ^= 16;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)offset), 1);
    close(file);
    free(path);
}

/* Every file but that of the pixels when it is opened, the pixels when they are verified. */
static void a_damaged_byte_is_found_and_named(void **state)
{
    static const struct {
        const char *file;
        size_t offset;
        bool opens;
        const char *message;
    } rows[] = {
        {"train.labels", 41, false, "train.labels: damaged: checksum "},
        {"test.labels", 47, false, "test.labels: damaged: checksum "},
        {"train.sums", 0, false, "train.sums: damaged: checksum "},
        {"test.sums", 95, false, "test.sums: damaged: checksum "},
        {"train.pixels", 0, true, "train.pixels: image 0 at byte 0: damaged: checksum "},
        {"train.pixels", 30719, true, "train.pixels: image 39 at byte 29952: damaged: checksum "},
        {"test.pixels", 800, true, "test.pixels: image 1 at byte 768: damaged: checksum "},
    };
    const struct dataset_options options = {.size = SIDE}, none = {0}, all = {.verify = true};
    const char *made = support_path("bytes");
    struct dataset dataset;
    assert_ok(dataset_convert(specify("folder", make_folder(false)), &options, made, &dataset));
    dataset_release(&dataset);
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        flip(made, rows[row].file, rows[row].offset);
        enum retort_status status = dataset_open(specify("shard", made), &none, &dataset);
        assert_int_equal(status, rows[row].opens ? RETORT_OK : RETORT_FORMAT);
        if (rows[row].opens)
            dataset_release(&dataset);
        assert_fails(dataset_open(specify("shard", made), &all, &dataset), RETORT_FORMAT,
                     rows[row].message);
        flip(made, rows[row].file, rows[row].offset);
        assert_ok(dataset_open(specify("shard", made), &all, &dataset));
        dataset_release(&dataset);
    }
    flip(made, "train.pixels", 5);
    flip(made, "train.pixels", 5000);
    assert_fails(dataset_open(specify("shard", made), &all, &dataset), RETORT_FORMAT,
                 "image 0 at byte 0: damaged: ");
    assert_non_null(strstr(retort_message(), "(2 damaged of 40)"));
}

static void a_shard_knows_what_was_held_out_and_left_out(void **state)
{
    const struct dataset_options options = {.size = SIDE, .skip_bad = true, .held_out = 0.3},
                                 other = {.held_out = 0.2}, none = {0};
    const char *made = support_path("shares");
    char path[300];
    struct dataset dataset;
    snprintf(path, sizeof(path), "%s/train", make_folder(true));
    assert_ok(dataset_convert(specify("folder", path), &options, made, &dataset));
    assert_int_equal(dataset.test.count, CLASSES * 3);
    assert_int_equal(dataset.skipped.count, 1);
    dataset_release(&dataset);
    assert_ok(dataset_open(specify("shard", made), &none, &dataset));
    assert_true(dataset.held_out == 0.3);
    assert_int_equal(dataset.left_out, 1);
    dataset_release(&dataset);
    static const char *const formats[] = {"folder", "shard"};
    for (int i = 0; i < 2; i++) {
        assert_ok(dataset_open(specify(formats[i], made), &options, &dataset));
        dataset_release(&dataset);
        assert_fails(dataset_open(specify(formats[i], made), &other, &dataset), RETORT_INVALID,
                     "held_out: 0.2 found, the shard was made with 0.3");
    }
}

static void folders_with_something_in_them_are_left_alone(void **state)
{
    const struct dataset_options options = {.size = SIDE};
    const char *full = support_path("full");
    struct dataset dataset;
    assert_ok(file_make_folder(full));
    write_text(full, "mine.txt", "mine");
    assert_fails(dataset_convert(specify("folder", make_folder(false)), &options, full, &dataset),
                 RETORT_INVALID, "full: holds mine.txt, an empty or new folder wanted");
    assert_true(file_exists(support_path("full/mine.txt")));
}

/* As a conversion that was killed leaves it; without its mark the same files are somebody's own. */
static void what_a_killed_conversion_left_is_removed(void **state)
{
    static const char *const left[] = {"test.pixels.123.tmp", "train.pixels", "train.labels"};
    const struct dataset_options options = {.size = SIDE};
    const char *source = make_folder(false), *made = support_path("killed");
    char path[300];
    struct dataset dataset;
    assert_ok(file_make_folder(made));
    for (int i = 0; i < 3; i++)
        write_text(made, left[i], "half");
    assert_fails(dataset_convert(specify("folder", source), &options, made, &dataset),
                 RETORT_INVALID, "an empty or new folder wanted");
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", made, left[i]);
        assert_true(file_exists(path));
    }
    write_text(made, ".converting", "");
    assert_ok(dataset_convert(specify("folder", source), &options, made, &dataset));
    dataset_release(&dataset);
    snprintf(path, sizeof(path), "%s/%s", made, left[0]);
    assert_false(file_exists(path));
    assert_false(file_exists(support_path("killed/.converting")));
}

static bool stop_in_the_middle(void *context, long done, long total)
{
    long *heard = context;
    assert_true(done > *heard && done <= total);
    *heard = done;
    return done < total / 2;
}

/* A folder that the user had made stays, empty. */
static void a_conversion_that_is_stopped_leaves_nothing(void **state)
{
    const char *source = make_folder(false);
    for (int there = 0; there < 2; there++) {
        long heard = 0;
        const struct dataset_listener listener = {stop_in_the_middle, &heard};
        const struct dataset_options options = {.size = SIDE, .listener = &listener},
                                     again = {.size = SIDE};
        const char *made = support_path(there ? "stopped-there" : "stopped");
        struct dataset dataset;
        if (there)
            assert_ok(file_make_folder(made));
        assert_fails(dataset_convert(specify("folder", source), &options, made, &dataset),
                     RETORT_STOPPED, "images; nothing is left of them");
        assert_true(heard > 0);
        assert_true(file_exists(made) == there);
        assert_ok(dataset_convert(specify("folder", source), &again, made, &dataset));
        dataset_release(&dataset);
    }
}

static void a_full_disk_leaves_nothing(void **state)
{
    const struct dataset_options options = {.size = SIDE};
    const char *folder = make_folder(false), *made = support_path("no-room");
    struct dataset dataset;
    struct rlimit before, small = {10000, RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum retort_status status =
        dataset_convert(specify("folder", folder), &options, made, &dataset);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_fails(status, RETORT_IO, "no-room/train.pixels: cannot write: File too large");
    assert_false(file_exists(made));
}

/* ---- memory ---- */

/* Kilobytes of a line of /proc/self/status. */
static long memory_of(const char *name)
{
    char line[256];
    long found = -1;
    FILE *stream = fopen("/proc/self/status", "r");
    while (stream && fgets(line, sizeof(line), stream))
        if (strncmp(line, name, strlen(name)) == 0)
            found = strtol(line + strlen(name) + 1, NULL, 10);
    if (stream)
        fclose(stream);
    return found;
}

/* 50,000 images of 64x64, 614 MB, are read once; at no time do they take more than 300 MB. */
static void a_large_set_is_never_in_memory_as_a_whole(void **state)
{
    enum { IMAGES = 50000, PIXELS = 3 * 64 * 64, BATCH = 100 };
    const struct loader_options loading = {.batch = BATCH, .shuffle = true, .threads = 2};
    const char *made = support_path("large");
    static int labels[IMAGES];
    static uint64_t sums[IMAGES];
    struct image_set train = {.count = IMAGES,
                              .channels = 3,
                              .height = 64,
                              .width = 64,
                              .labels = labels,
                              .sums = sums},
                     test = train;
    char *names[1] = {"a"};
    struct dataset dataset = {.name = "made-up",
                              .classes = 1,
                              .class_names = names,
                              .mean = {0.5f, 0.5f, 0.5f},
                              .std = {1, 1, 1}};
    test.count = 1;
    assert_ok(file_make_folder(made));
    assert_ok(shard_describe(made, &dataset, &train, &test, &(struct image_set){0}));
    for (int part = 0; part < 2; part++) { /* files of holes: zeros that take no room */
        char *path = file_join(made, shard_pixels[part]);
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        assert_int_equal(ftruncate(file, (off_t)(part ? 1 : IMAGES) * PIXELS), 0);
        close(file);
        free(path);
    }
    struct loader *loader;
    struct batch batch;
    assert_ok(dataset_open(specify("shard", made), &(struct dataset_options){0}, &dataset));
    long before = memory_of("VmRSS:"), most = 0;
    assert_ok(loader_create(&dataset, true, &loading, &loader));
    assert_ok(loader_start(loader, 0, 0));
    do {
        assert_ok(loader_next(loader, &batch));
        long now = memory_of("VmRSS:");
        most = now > most ? now : most;
    } while (batch.n > 0);
    assert_true(before > 0 && most > 0);
    assert_true(most - before < 300 * 1024);
    loader_destroy(loader);
    dataset_release(&dataset);
}

/* 400,000 images are 4.9 GB, of which two are written; the others are holes of the files. */
static void places_beyond_4_gib_are_written_and_read(void **state)
{
    enum { IMAGES = 400000, SIZE = 3 * 64 * 64, LAST = IMAGES - 1, KEPT = 360000 };
    const char *made = support_path("beyond");
    static uint8_t pixels[SIZE];
    struct dataset described = {.name = strdup("made-up")}, dataset;
    struct image_writer writer;
    assert_ok(file_make_folder(made));
    assert_ok(dataset_make_classes(&described, 2));
    assert_ok(dataset_name_class(&described, 0, "a", 1));
    assert_ok(dataset_name_class(&described, 1, "b", 1));
    image_writer_init(&writer, made, NULL);
    assert_ok(image_writer_begin(&writer, IMAGE_TRAIN, IMAGES, 3, 64, 64));
    assert_ok(image_writer_begin(&writer, IMAGE_TEST, 1, 3, 64, 64));
    for (int i = 0; i < IMAGES; i++)
        image_writer_label(&writer, IMAGE_TRAIN, i, i >= KEPT);
    for (int i = 0; i < SIZE; i++)
        pixels[i] = (uint8_t)(i % 251);
    assert_ok(image_writer_put(&writer, IMAGE_TRAIN, LAST, pixels));
    image_writer_label(&writer, IMAGE_TRAIN, LAST, 1);
    pixels[0] = 77;
    assert_ok(image_writer_put(&writer, IMAGE_TRAIN, KEPT, pixels));
    image_writer_label(&writer, IMAGE_TRAIN, KEPT, 1);
    assert_ok(image_writer_put(&writer, IMAGE_TEST, 0, pixels));
    image_writer_label(&writer, IMAGE_TEST, 0, 0);
    assert_ok(image_writer_finish(&writer, &described));
    image_writer_release(&writer);
    dataset_release(&described);

    assert_ok(dataset_open(specify("shard", made), &(struct dataset_options){0}, &dataset));
    assert_true(dataset.train.mapped == (size_t)IMAGES * SIZE);
    assert_memory_equal(image_set_view(&dataset.train, KEPT), pixels, SIZE);
    assert_int_equal(image_set_view(&dataset.train, KEPT - 1)[SIZE - 1], 0);
    pixels[0] = 0;
    assert_memory_equal(image_set_view(&dataset.train, LAST), pixels, SIZE);
    /* The last batch of the set as a loader gives it. */
    const struct loader_options loading = {.batch = 64, .threads = 1};
    struct loader *loader;
    struct batch batch;
    assert_ok(loader_create(&dataset, true, &loading, &loader));
    assert_ok(loader_start(loader, 0, LAST / 64));
    assert_ok(loader_next(loader, &batch));
    assert_int_equal(batch.n, 64);
    assert_int_equal(batch.indices[63], LAST);
    assert_int_equal(batch.labels[63], 1);
    for (size_t i = 0; i < SIZE; i++) { /* channels first in the set and in the batch */
        size_t channel = i / (64 * 64);
        float wanted = ((float)pixels[i] / 255 - dataset.mean[channel]) / dataset.std[channel];
        assert_true(fabsf(batch.images[63 * SIZE + i] - wanted) <= 1e-3f * (1 + fabsf(wanted)));
    }
    loader_destroy(loader);
    dataset_release(&dataset);
    /* The first image of the second class lies beyond 4 GiB. */
    const struct dataset_options first = {.limit = 1};
    pixels[0] = 77;
    assert_ok(dataset_open(specify("shard", made), &first, &dataset));
    assert_int_equal(dataset.train.count, 2);
    assert_memory_equal(image_set_view(&dataset.train, 1), pixels, SIZE);
    dataset_release(&dataset);
}

/* ---- equal images ---- */

struct kind {
    int shade, label;
};

static void make_kinds(const struct kind *kinds, int count, struct image_set *set)
{
    assert_ok(image_set_make(set, count, 1, 2, 2));
    for (int i = 0; i < count; i++) {
        memset(set->pixels + 4 * i, kinds[i].shade, 4);
        set->labels[i] = kinds[i].label;
    }
}

static void equal_images_are_counted(void **state)
{
    struct dataset dataset = {0};
    struct duplicates found;
    static const struct kind train[] = {{1, 0}, {2, 0}, {1, 0}, {3, 1}, {1, 1}, {4, 0}, {5, 0}},
                             test[] = {{6, 0}, {3, 1}, {6, 1}, {3, 0}, {7, 0}},
                             val[] = {{1, 0}, {6, 1}, {8, 0}, {8, 0}};
    make_kinds(train, 7, &dataset.train);
    make_kinds(test, 5, &dataset.test);
    make_kinds(val, 4, &dataset.val);
    assert_ok(duplicates_count(&dataset, &found));
    assert_int_equal(found.equal[0][0], 2); /* of shade 1, the third under another label */
    assert_int_equal(found.conflicts[0][0], 1);
    assert_int_equal(found.equal[1][1], 2); /* of shades 6 and 3 */
    assert_int_equal(found.conflicts[1][1], 2);
    assert_int_equal(found.equal[1][0], 2); /* of shade 3, one under another label */
    assert_int_equal(found.conflicts[1][0], 1);
    assert_int_equal(found.equal[2][2], 1); /* of shade 8 */
    assert_int_equal(found.conflicts[2][2], 0);
    assert_int_equal(found.equal[2][0], 1); /* of shade 1 */
    assert_int_equal(found.conflicts[2][0], 0);
    assert_int_equal(found.equal[2][1], 1); /* of shade 6, the first of which has another label */
    assert_int_equal(found.conflicts[2][1], 1);
    dataset_release(&dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_converted_set_equals_the_original),
        cmocka_unit_test(limits_and_what_is_held_out_are_the_same_mapped),
        cmocka_unit_test(batches_are_the_same_mapped),
        cmocka_unit_test(gaps_of_what_was_skipped_are_closed),
        cmocka_unit_test(damaged_descriptions_are_refused),
        cmocka_unit_test(a_damaged_byte_is_found_and_named),
        cmocka_unit_test(a_shard_knows_what_was_held_out_and_left_out),
        cmocka_unit_test(folders_with_something_in_them_are_left_alone),
        cmocka_unit_test(what_a_killed_conversion_left_is_removed),
        cmocka_unit_test(a_conversion_that_is_stopped_leaves_nothing),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(a_large_set_is_never_in_memory_as_a_whole),
        cmocka_unit_test(places_beyond_4_gib_are_written_and_read),
        cmocka_unit_test(equal_images_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
