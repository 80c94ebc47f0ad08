/* test_dataset.c - every format from every container, and a table of what can be wrong with them.
 *
 * The sets are made here: tiny, with random pixels, so that gzip stores them as they are and a
 * flipped bit is found by nothing but the checksum. */
#include "support.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "data/dataset.h"
#include "data/image_set.h"

enum { FILES = 7, IDX_TRAIN = 62, IDX_TEST = 63, CIFAR10_BATCH = 6, CIFAR100_TRAIN = 104 };
enum { CIFAR10_TEST = 10, CIFAR100_TEST = 102, IDX_PIXELS = 28 * 28, CIFAR_PIXELS = 3 * 32 * 32 };

struct member {
    char name[48];
    unsigned char *data;
    size_t size;
};

/* The files of one set. */
struct files {
    int count;
    struct member member[FILES];
};

/* A new file of `header` bytes and `count` records of `labels` zero bytes and random pixels. */
static unsigned char *add_file(struct files *files, const char *name, size_t header, size_t labels,
                               size_t pixels, size_t count)
{
    struct random_stream stream = random_stream(5, RANDOM_TEST, (uint32_t)files->count, 0);
    struct member *member = &files->member[files->count++];
    snprintf(member->name, sizeof(member->name), "%s", name);
    member->size = header + count * (labels + pixels);
    member->data = calloc(1, member->size);
    assert_non_null(member->data);
    for (size_t i = 0; i < count * pixels; i++)
        member->data[header + i / pixels * (labels + pixels) + labels + i % pixels] =
            (unsigned char)random_bits(&stream, i);
    return member->data;
}

static void put_dims(unsigned char *data, const unsigned *dims, int rank)
{
    data[2] = 8;
    data[3] = (unsigned char)rank;
    for (int i = 0; i < 4 * rank; i++)
        data[4 + i] = (unsigned char)(dims[i / 4] >> (24 - 8 * (i % 4)));
}

/* start: what names of files begin with; test: what those of the test set have. */
static void make_idx_of(struct files *files, const char *start, const char *test, int classes,
                        int first_label)
{
    const unsigned counts[2] = {IDX_TRAIN, IDX_TEST};
    for (int k = 0; k < 2; k++) {
        const unsigned dims[3] = {counts[k], 28, 28};
        char name[48];
        snprintf(name, sizeof(name), "%s%s-images-idx3-ubyte", start, k ? test : "train");
        put_dims(add_file(files, name, 16, 0, IDX_PIXELS, counts[k]), dims, 3);
        snprintf(name, sizeof(name), "%s%s-labels-idx1-ubyte", start, k ? test : "train");
        unsigned char *labels = add_file(files, name, 8, 1, 0, counts[k]);
        put_dims(labels, dims, 1);
        for (unsigned i = 0; i < counts[k]; i++)
            labels[8 + i] = (unsigned char)((int)i * 3 % classes + first_label);
    }
}

static void make_idx(struct files *files)
{
    make_idx_of(files, "", "t10k", 10, 0);
}

static void make_letters(struct files *files)
{
    make_idx_of(files, "emnist-letters-", "test", 26, 1);
}

static void make_digits(struct files *files)
{
    make_idx_of(files, "emnist-digits-", "test", 10, 0);
}

static void make_balanced(struct files *files)
{
    make_idx_of(files, "emnist-balanced-", "test", 47, 0);
}

static void make_byclass(struct files *files)
{
    make_idx_of(files, "emnist-byclass-", "test", 62, 0);
}

static void make_bymerge(struct files *files)
{
    make_idx_of(files, "emnist-bymerge-", "test", 47, 0);
}

static void make_emnist_mnist(struct files *files)
{
    make_idx_of(files, "emnist-mnist-", "test", 10, 0);
}

static void make_names(struct files *files, const char *name, int classes)
{
    char *text = (char *)add_file(files, name, 0, 9, 0, (size_t)classes);
    for (int i = 0; i < classes; i++)
        memcpy(text + (size_t)i * 9, "class 00\n", 9);
    for (int i = 0; i < classes; i++) {
        text[i * 9 + 6] = (char)('0' + i / 10);
        text[i * 9 + 7] = (char)('0' + i % 10);
    }
}

static void make_cifar10(struct files *files)
{
    for (int k = 0; k < 6; k++) {
        char name[24];
        snprintf(name, sizeof(name), "data_batch_%d.bin", k + 1);
        int count = k < 5 ? CIFAR10_BATCH : CIFAR10_TEST;
        unsigned char *data =
            add_file(files, k < 5 ? name : "test_batch.bin", 0, 1, CIFAR_PIXELS, (size_t)count);
        for (int i = 0; i < count; i++)
            data[i * (1 + CIFAR_PIXELS)] = (unsigned char)((k + i) % 10);
    }
    make_names(files, "batches.meta.txt", 10);
}

static void make_cifar100(struct files *files)
{
    for (int k = 0; k < 2; k++) {
        int count = k == 0 ? CIFAR100_TRAIN : CIFAR100_TEST;
        unsigned char *data =
            add_file(files, k == 0 ? "train.bin" : "test.bin", 0, 2, CIFAR_PIXELS, (size_t)count);
        for (int i = 0; i < count; i++) {
            data[i * (2 + CIFAR_PIXELS)] = (unsigned char)(i % 20);
            data[i * (2 + CIFAR_PIXELS) + 1] = (unsigned char)(99 - i % 100);
        }
    }
    make_names(files, "fine_label_names.txt", 100);
}

static void release_files(struct files *files)
{
    for (int i = 0; i < files->count; i++)
        free(files->member[i].data);
}

static const struct format {
    const char *name;
    void (*make)(struct files *files);
    const char *first_class;
} formats[] = {
    {"mnist", make_idx, "0"},
    {"fashion-mnist", make_idx, "T-shirt/top"},
    {"kmnist", make_idx, "o"},
    {"emnist-letters", make_letters, "a"},
    {"emnist-digits", make_digits, "0"},
    {"emnist-balanced", make_balanced, "0"},
    {"emnist-byclass", make_byclass, "0"},
    {"emnist-bymerge", make_bymerge, "0"},
    {"emnist-mnist", make_emnist_mnist, "0"},
    {"cifar10", make_cifar10, "class 00"},
    {"cifar100", make_cifar100, "class 00"},
};
enum kind {
    MNIST,
    FASHION_MNIST,
    KMNIST,
    LETTERS,
    DIGITS,
    BALANCED,
    BYCLASS,
    BYMERGE,
    EMNIST_MNIST,
    CIFAR10,
    CIFAR100,
    KINDS
};

/* Formats of other files, which have tests of their own. */
enum { ELSEWHERE = 6 };

/* Containers. */

static void write_entry(struct archive *archive, const char *name, const struct member *member)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)member->size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(archive, member->data, member->size), member->size);
    archive_entry_free(entry);
}

static struct archive *begin_archive(const char *path, int filter, bool tar)
{
    struct archive *archive = archive_write_new();
    archive_write_add_filter(archive, filter);
    if (tar)
        archive_write_set_format_pax_restricted(archive);
    else
        archive_write_set_format_raw(archive);
    archive_write_set_bytes_in_last_block(archive, 1);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    return archive;
}

static void end_archive(struct archive *archive)
{
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
}

enum container { FOLDER, GZIP, TAR, TAR_GZ, TAR_XZ, CONTAINERS };

/* Where a member lies in a container, and the container itself. */
static const char *place(enum container container, const char *name, int number)
{
    static const char *const suffix[] = {"", "", ".tar", ".tar.gz", ".tar.xz"};
    char path[128];
    snprintf(path, sizeof(path), "set-%d%s%s%s%s", number, suffix[container],
             container < TAR && name ? "/" : "", container < TAR && name ? name : "",
             container == GZIP && name ? ".gz" : "");
    return support_path(path);
}

static void write_files(const struct files *files, enum container container, int number)
{
    static const int filters[] = {0, 0, ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP,
                                  ARCHIVE_FILTER_XZ};
    const char *path = place(container, NULL, number);
    struct archive *archive = NULL;
    if (container >= TAR)
        archive = begin_archive(path, filters[container], true);
    else
        assert_ok(file_make_folder(path));
    for (int i = 0; i < files->count; i++) {
        const struct member *member = &files->member[i];
        if (container == FOLDER) {
            assert_ok(
                file_write(place(container, member->name, number), member->data, member->size));
        } else if (container == GZIP) {
            struct archive *packed =
                begin_archive(place(container, member->name, number), ARCHIVE_FILTER_GZIP, false);
            write_entry(packed, "data", member);
            end_archive(packed);
        } else {
            char name[64];
            snprintf(name, sizeof(name), "the-set/%s", member->name);
            write_entry(archive, name, member);
        }
    }
    if (archive)
        end_archive(archive);
}

static enum retort_status open_at(const char *format, const char *path,
                                  const struct dataset_options *options, struct dataset *dataset)
{
    static const struct dataset_options none;
    char specification[300];
    snprintf(specification, sizeof(specification), "%s:%s", format, path);
    return dataset_open(specification, options ? options : &none, dataset);
}

static int next_number(void)
{
    static int number;
    return number++;
}

/* What was read is what was written. */

static void check_idx(const struct files *files, const struct dataset *dataset, enum kind kind)
{
    bool transposed = kind >= LETTERS;
    int first_label = kind == LETTERS;
    assert_int_equal(dataset->classes, kind == LETTERS                       ? 26
                                       : kind == BALANCED || kind == BYMERGE ? 47
                                       : kind == BYCLASS                     ? 62
                                                                             : 10);
    for (int k = 0; k < 2; k++) {
        const struct image_set *set = k ? &dataset->test : &dataset->train;
        assert_int_equal(set->count, k ? IDX_TEST : IDX_TRAIN);
        assert_int_equal(set->channels, 1);
        assert_int_equal(set->height, 32);
        assert_int_equal(set->width, 32);
        for (int i = 0; i < set->count; i++) {
            const unsigned char *src = files->member[2 * k].data + 16 + i * IDX_PIXELS;
            assert_int_equal(set->labels[i] + first_label, files->member[2 * k + 1].data[8 + i]);
            for (int y = 0; y < 32; y++)
                for (int x = 0; x < 32; x++) {
                    bool inside = y >= 2 && y < 30 && x >= 2 && x < 30;
                    int place = transposed ? (x - 2) * 28 + y - 2 : (y - 2) * 28 + x - 2;
                    assert_int_equal(set->pixels[(i * 32 + y) * 32 + x], inside ? src[place] : 0);
                }
        }
    }
}

static void check_cifar(const struct files *files, const struct dataset *dataset, int labels)
{
    int record = labels + CIFAR_PIXELS, image = 0;
    assert_int_equal(dataset->classes, labels == 1 ? 10 : 100);
    assert_int_equal(dataset->train.channels, 3);
    assert_int_equal(dataset->train.height, 32);
    assert_int_equal(dataset->train.width, 32);
    for (int k = 0; k < files->count - 1; k++) {
        bool test = k == files->count - 2;
        const struct image_set *set = test ? &dataset->test : &dataset->train;
        int count = (int)files->member[k].size / record;
        if (test) {
            assert_int_equal(dataset->train.count, image);
            assert_int_equal(dataset->test.count, count);
            image = 0;
        }
        for (int i = 0; i < count; i++, image++) {
            const unsigned char *src = files->member[k].data + i * record;
            assert_int_equal(set->labels[image], src[labels - 1]);
            assert_memory_equal(set->pixels + image * CIFAR_PIXELS, src + labels, CIFAR_PIXELS);
        }
    }
    assert_string_equal(dataset->class_names[0], "class 00");
    assert_string_equal(dataset->class_names[dataset->classes - 1],
                        labels == 1 ? "class 09" : "class 99");
}

/* Sentences about files of fewer records than the official ones, as these here are. */
static int short_files(enum kind kind)
{
    return kind == CIFAR10 ? 6 : kind == CIFAR100 ? 2 : 0;
}

static const struct dataset_options skip_bad = {.skip_bad = true};

static void every_format_is_read_from_every_container(void **state)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int container = 0; container < CONTAINERS; container++) {
            struct files files = {0};
            struct dataset dataset;
            int number = next_number();
            formats[kind].make(&files);
            write_files(&files, container, number);
            assert_ok(
                open_at(formats[kind].name, place(container, NULL, number), &skip_bad, &dataset));
            assert_int_equal(dataset.skipped.count, short_files(kind));
            assert_string_equal(dataset.name, formats[kind].name);
            if (kind < CIFAR10)
                check_idx(&files, &dataset, kind);
            else
                check_cifar(&files, &dataset, kind == CIFAR10 ? 1 : 2);
            assert_string_equal(dataset.class_names[0], formats[kind].first_class);
            dataset_release(&dataset);
            release_files(&files);
        }
}

static void bad_records_are_left_out_and_listed_when_that_is_asked_for(void **state)
{
    static const struct {
        enum kind kind;
        int file;
        size_t at;
        unsigned char value;
        const char *sentence;
        int record; /* of the training set */
    } rows[] = {
        {MNIST, 1, 8 + 17, 10, "train-labels-idx1-ubyte: record 17: label 10 found, 0 to 9", 17},
        {LETTERS, 1, 8 + 17, 0, "record 17: label 0 found, 1 to 26 wanted", 17},
        {LETTERS, 1, 8 + 17, 27, "record 17: label 27 found, 1 to 26 wanted", 17},
        {CIFAR10, 2, 4 * 3073, 10, "data_batch_3.bin: record 4 at byte 12292: label 10", 16},
        {CIFAR100, 0, 3 * 3074, 20, "train.bin: record 3 at byte 9222: coarse label 20", 3},
    };
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct files files = {0};
        struct dataset whole, left;
        const char *format = formats[rows[row].kind].name;
        int number = next_number();
        formats[rows[row].kind].make(&files);
        write_files(&files, FOLDER, number);
        char path[256];
        snprintf(path, sizeof(path), "%s", place(FOLDER, NULL, number));
        assert_ok(open_at(format, path, &skip_bad, &whole));
        files.member[rows[row].file].data[rows[row].at] = rows[row].value;
        write_files(&files, FOLDER, number);
        assert_fails(open_at(format, path, NULL, &left), RETORT_FORMAT, rows[row].sentence);
        assert_ok(open_at(format, path, &skip_bad, &left));
        assert_int_equal(left.skipped.count, 1 + short_files(rows[row].kind));
        assert_non_null(strstr(left.skipped.sentences[0], rows[row].sentence));
        assert_int_equal(left.train.count, whole.train.count - 1);
        assert_int_equal(left.test.count, whole.test.count);
        size_t size = image_set_size(&whole.train);
        for (int i = 0; i < left.train.count; i++) {
            int from = i + (i >= rows[row].record);
            assert_int_equal(left.train.labels[i], whole.train.labels[from]);
            assert_memory_equal(image_set_view(&left.train, (size_t)i),
                                image_set_view(&whole.train, (size_t)from), size);
        }
        dataset_release(&whole);
        dataset_release(&left);
        release_files(&files);
    }
}

/* Nothing in a file says how many records it should have; the official number does. */
static void a_file_cut_between_records_is_refused(void **state)
{
    static const char *const sentences[] = {"data_batch_1.bin: 6 records found, 10000 wanted",
                                            "train.bin: 104 records found, 50000 wanted"};
    for (int i = 0; i < 2; i++) {
        const enum kind kind = i ? CIFAR100 : CIFAR10;
        struct files files = {0};
        struct dataset dataset;
        int number = next_number();
        formats[kind].make(&files);
        write_files(&files, FOLDER, number);
        assert_fails(open_at(formats[kind].name, place(FOLDER, NULL, number), NULL, &dataset),
                     RETORT_FORMAT, sentences[i]);
        release_files(&files);
    }
}

static void a_class_without_images_is_refused(void **state)
{
    static const struct {
        enum kind kind;
        int file;
        size_t at; /* the label of the only image of its class, which becomes that of another */
        unsigned char value;
        const char *sentence;
    } rows[] = {
        {BALANCED, 1, 8 + 17, 1, "class \"4\": no training images found"},
        {BALANCED, 3, 8 + 17, 1, "class \"4\": no test images found"},
        {CIFAR100, 0, 7 * 3074 + 1, 0, "class \"class 92\": no training images are left"},
        {CIFAR100, 1, 7 * 3074 + 1, 0, "class \"class 92\": no test images are left"},
        {CIFAR100, 0, 7 * 3074, 20, "class \"class 92\": no training images are left"},
    };
    const struct dataset_options options = {.skip_bad = true};
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        struct files files = {0};
        struct dataset dataset;
        const char *format = formats[rows[row].kind].name;
        int number = next_number();
        formats[rows[row].kind].make(&files);
        files.member[rows[row].file].data[rows[row].at] = rows[row].value;
        write_files(&files, FOLDER, number);
        char path[256], specification[300], folder[300];
        snprintf(path, sizeof(path), "%s", place(FOLDER, NULL, number));
        assert_fails(open_at(format, path, &options, &dataset), RETORT_FORMAT, rows[row].sentence);
        snprintf(specification, sizeof(specification), "%s:%s", format, path);
        snprintf(folder, sizeof(folder), "%s-shard", path);
        assert_fails(dataset_convert(specification, &options, folder, &dataset), RETORT_FORMAT,
                     rows[row].sentence);
        assert_false(file_exists(folder));
        release_files(&files);
    }
}

static void a_limit_keeps_the_first_images_of_each_class(void **state)
{
    struct files files = {0};
    struct dataset all, some;
    const struct dataset_options options = {.limit = 2, .test_limit = 1};
    int number = next_number(), seen[10] = {0}, kept = 0;
    make_idx(&files);
    write_files(&files, FOLDER, number);
    const char *path = place(FOLDER, NULL, number);
    assert_ok(open_at("mnist", path, NULL, &all));
    assert_ok(open_at("mnist", path, &options, &some));
    for (int i = 0; i < all.train.count; i++) {
        if (seen[all.train.labels[i]]++ >= 2)
            continue;
        assert_int_equal(some.train.labels[kept], all.train.labels[i]);
        assert_memory_equal(some.train.pixels + kept * 1024, all.train.pixels + i * 1024, 1024);
        kept++;
    }
    assert_int_equal(some.train.count, kept);
    assert_int_equal(some.train.count, 20);
    assert_int_equal(some.test.count, 10);
    assert_memory_equal(some.mean, all.mean, sizeof(all.mean));
    assert_memory_equal(some.std, all.std, sizeof(all.std));
    dataset_release(&all);
    dataset_release(&some);
    release_files(&files);
}

/* 62 images of ten classes, of which some have six. */
static void what_is_held_out_leaves_every_class_some(void **state)
{
    struct files files = {0};
    struct dataset dataset, again;
    const struct dataset_options some = {.val = 20}, most = {.val = 61};
    int number = next_number();
    make_idx(&files);
    write_files(&files, FOLDER, number);
    const char *path = place(FOLDER, NULL, number);
    assert_ok(open_at("mnist", path, &some, &dataset));
    assert_int_equal(dataset.val.count, 20);
    assert_int_equal(dataset.train.count, IDX_TRAIN - 20);
    assert_ok(open_at("mnist", path, &some, &again));
    for (int i = 0; i < 20; i++)
        assert_int_equal(again.val.rows[i], dataset.val.rows[i]);
    dataset_release(&again);
    dataset_release(&dataset);
    assert_fails(open_at("mnist", path, &most, &dataset), RETORT_INVALID,
                 "val: 61 images held out leave a class without training images");
    release_files(&files);
}

static void mean_and_std_are_those_of_the_unpadded_training_set(void **state)
{
    struct files files = {0};
    struct dataset dataset;
    int number = next_number();
    make_idx(&files);
    write_files(&files, GZIP, number);
    assert_ok(open_at("mnist", place(GZIP, NULL, number), NULL, &dataset));
    double sum = 0, squares = 0, count = IDX_TRAIN * IDX_PIXELS;
    for (int i = 0; i < IDX_TRAIN * IDX_PIXELS; i++)
        sum += files.member[0].data[16 + i] / 255.0;
    for (int i = 0; i < IDX_TRAIN * IDX_PIXELS; i++) {
        double difference = files.member[0].data[16 + i] / 255.0 - sum / count;
        squares += difference * difference;
    }
    assert_float_equal(dataset.mean[0], sum / count, 1e-6);
    assert_float_equal((double)dataset.std[0] * (double)dataset.std[0], squares / count, 1e-6);
    dataset_release(&dataset);
    release_files(&files);
}

/* Damage. */

enum change {
    SET,     /* byte `at` of the file becomes `value` */
    CUT,     /* the file is `at` bytes long */
    ADD,     /* `at` zero bytes follow */
    REMOVE,  /* the file is not there */
    MAKE,    /* a folder stands in its place */
    FLIP,    /* bits in the middle of the written file or archive are turned over */
    SHORTEN, /* the written file or archive loses its last third */
};

static const struct damage {
    enum kind kind;
    enum container container;
    int file;
    enum change change;
    int at, value;
    enum retort_status status;
    const char *pieces[4]; /* of the message */
} damages[] = {
    /* IDX: the header. */
    {MNIST,
     FOLDER,
     0,
     SET,
     3,
     1,
     RETORT_FORMAT,
     {"train-images-idx3-ubyte: ", "0x00000801 found", "0x00000803 wanted"}},
    {MNIST,
     GZIP,
     1,
     SET,
     2,
     9,
     RETORT_FORMAT,
     {"train-labels-idx1-ubyte.gz: ", "0x00000901 found", "0x00000801 wanted"}},
    {MNIST,
     FOLDER,
     0,
     SET,
     7,
     51,
     RETORT_FORMAT,
     {"train-images", "48608 bytes found", "51 items of 784"}},
    {MNIST, FOLDER, 0, SET, 4, 255, RETORT_FORMAT, {"train-images", "4278190142 items"}},
    {MNIST, FOLDER, 0, SET, 11, 29, RETORT_FORMAT, {"train-images", "29 rows", "28 wanted"}},
    {MNIST,
     TAR,
     2,
     SET,
     15,
     0,
     RETORT_FORMAT,
     {".tar: t10k-images-idx3-ubyte: ", "0 columns", "28 wanted"}},
    {MNIST, FOLDER, 3, SET, 7, 19, RETORT_FORMAT, {"t10k-labels", "19 items", "63 bytes found"}},
    {MNIST, FOLDER, 3, CUT, 7, 0, RETORT_FORMAT, {"t10k-labels", "7 bytes found", "8 wanted"}},
    {MNIST, FOLDER, 0, CUT, 0, 0, RETORT_FORMAT, {"train-images", "empty file"}},
    {MNIST, GZIP, 0, CUT, 0, 0, RETORT_FORMAT, {"train-images-idx3-ubyte.gz", "empty file"}},
    {MNIST, TAR_GZ, 1, CUT, 0, 0, RETORT_FORMAT, {".tar.gz: train-labels", "empty file"}},
    /* IDX: the values. */
    {MNIST, FOLDER, 0, CUT, 20000, 0, RETORT_FORMAT, {"train-images", "19984 bytes found"}},
    {MNIST, GZIP, 0, ADD, 1, 0, RETORT_FORMAT, {"train-images", "48609 bytes found"}},
    {MNIST,
     FOLDER,
     1,
     SET,
     8 + 17,
     10,
     RETORT_FORMAT,
     {"train-labels", "record 17", "label 10 found", "0 to 9 wanted"}},
    {MNIST, GZIP, 1, ADD, 60000, 0, RETORT_FORMAT, {"train-labels", "at most", "wanted"}},
    {MNIST, FOLDER, 1, ADD, 60000, 0, RETORT_FORMAT, {"train-labels", "60070 bytes", "60008"}},
    {MNIST,
     TAR,
     1,
     ADD,
     60000,
     0,
     RETORT_FORMAT,
     {"train-labels", "60070 bytes", "60008 were wanted"}},
    /* CIFAR. */
    {CIFAR10,
     FOLDER,
     2,
     SET,
     4 * 3073,
     10,
     RETORT_FORMAT,
     {"data_batch_3.bin: record 4 at byte 12292", "label 10 found", "0 to 9 wanted"}},
    {CIFAR10,
     FOLDER,
     1,
     CUT,
     5 * 3073,
     0,
     RETORT_FORMAT,
     {"data_batch_2.bin: 5 records found, 6 wanted", "data_batch_1.bin"}},
    {CIFAR10,
     TAR_XZ,
     5,
     CUT,
     5 * 3073 + 3000,
     0,
     RETORT_FORMAT,
     {".tar.xz: test_batch.bin", "18365 bytes found", "records of 3073 wanted", "3000 follow 5"}},
    {CIFAR10, FOLDER, 5, ADD, 1, 0, RETORT_FORMAT, {"test_batch.bin", "1 follow 10 records"}},
    {CIFAR10,
     FOLDER,
     6,
     CUT,
     81,
     0,
     RETORT_FORMAT,
     {"batches.meta.txt: 9 class names found, 10 wanted"}},
    {CIFAR100,
     FOLDER,
     2,
     SET,
     4,
     '\n',
     RETORT_FORMAT,
     {"fine_label_names.txt: 101 class names found, 100 wanted"}},
    {CIFAR100,
     FOLDER,
     0,
     SET,
     7 * 3074,
     20,
     RETORT_FORMAT,
     {"train.bin: record 7 at byte 21518: coarse label 20 found, 0 to 19 wanted"}},
    {CIFAR100,
     TAR,
     1,
     SET,
     3075,
     100,
     RETORT_FORMAT,
     {".tar: test.bin: record 1", "fine label 100 found, 0 to 99 wanted"}},
    {CIFAR100, FOLDER, 1, ADD, 31000000, 0, RETORT_FORMAT, {"test.bin", "30740000"}},
    /* Members. */
    {MNIST,
     FOLDER,
     0,
     REMOVE,
     0,
     0,
     RETORT_FORMAT,
     {": train-images-idx3-ubyte not found", "wanted: train-images-idx3-ubyte, train-labels"}},
    {CIFAR10,
     TAR_GZ,
     3,
     REMOVE,
     0,
     0,
     RETORT_FORMAT,
     {".tar.gz: data_batch_4.bin not found", "data_batch_5.bin, test_batch.bin, batches.meta.txt"}},
    {CIFAR100, FOLDER, 0, MAKE, 0, 0, RETORT_IO, {"train.bin", "not a regular file"}},
    {MNIST, GZIP, 1, MAKE, 0, 0, RETORT_IO, {"train-labels-idx1-ubyte.gz", "not a regular file"}},
    /* Compressed data. */
    {MNIST,
     GZIP,
     0,
     FLIP,
     0,
     0,
     RETORT_FORMAT,
     {"train-images-idx3-ubyte.gz: ", "corrupt", " at byte "}},
    {MNIST, GZIP, 0, SHORTEN, 0, 0, RETORT_FORMAT, {"train-images-idx3-ubyte.gz: ", "truncated"}},
    {CIFAR100, TAR_GZ, 0, FLIP, 0, 0, RETORT_FORMAT, {".tar.gz: ", "corrupt", " at byte "}},
    {CIFAR100, TAR_GZ, 0, SHORTEN, 0, 0, RETORT_FORMAT, {".tar.gz: test.bin: ", "truncated"}},
    {CIFAR100,
     TAR_XZ,
     0,
     FLIP,
     0,
     0,
     RETORT_FORMAT,
     {".tar.xz: test.bin: after ", "truncated or corrupt"}},
    {CIFAR100, TAR_XZ, 0, SHORTEN, 0, 0, RETORT_FORMAT, {".tar.xz: test.bin: after ", "truncated"}},
    {CIFAR100, TAR, 0, SHORTEN, 0, 0, RETORT_FORMAT, {".tar: test.bin: ", "truncated"}},
};

static void damage_files(struct files *files, const struct damage *damage)
{
    struct member *member = &files->member[damage->file];
    if (damage->change == SET)
        member->data[damage->at] = (unsigned char)damage->value;
    if (damage->change == CUT)
        member->size = (size_t)damage->at;
    if (damage->change == ADD) {
        member->data = realloc(member->data, member->size + (size_t)damage->at);
        assert_non_null(member->data);
        memset(member->data + member->size, 0, (size_t)damage->at);
        member->size += (size_t)damage->at;
    }
    if (damage->change == REMOVE || damage->change == MAKE) {
        free(member->data);
        files->count--;
        memmove(member, member + 1, sizeof(*member) * (size_t)(files->count - damage->file));
    }
}

static void damage_container(const char *path, enum change change)
{
    struct file_bytes bytes;
    if (change == MAKE)
        assert_ok(file_make_folder(path));
    if (change != FLIP && change != SHORTEN)
        return;
    assert_ok(file_read(path, SIZE_MAX / 2, &bytes));
    if (change == FLIP)
        bytes.data[bytes.size / 2] ^= 0x55;
    assert_ok(file_write(path, bytes.data, change == FLIP ? bytes.size : bytes.size / 3 * 2));
    free(bytes.data);
}

static void check_message(enum retort_status found, enum retort_status wanted,
                          const char *const *pieces, int row)
{
    for (int i = 0; i < 4 && pieces[i]; i++)
        support_fails(found, wanted, pieces[i], "row of the table", row);
}

static void damaged_sets_are_refused_by_name(void **state)
{
    for (size_t row = 0; row < sizeof(damages) / sizeof(damages[0]); row++) {
        const struct damage *damage = &damages[row];
        const struct format *format = &formats[damage->kind];
        struct files files = {0};
        struct dataset untouched = {.classes = 77};
        int number = next_number();
        char name[40];
        format->make(&files);
        snprintf(name, sizeof(name), "%s", files.member[damage->file].name);
        damage_files(&files, damage);
        write_files(&files, damage->container, number);
        damage_container(place(damage->container, name, number), damage->change);
        enum retort_status status =
            open_at(format->name, place(damage->container, NULL, number), NULL, &untouched);
        check_message(status, damage->status, damage->pieces, (int)row);
        assert_int_equal(untouched.classes, 77);
        release_files(&files);
    }
}

/* Names in archives. */

static const struct naming {
    const char *first, *second; /* formats of the first member's name, which is stored twice */
    const char *pieces[4];      /* of the message; none: it is read */
} namings[] = {
    {"%s", NULL, {NULL}},
    {"./%s", NULL, {NULL}},
    {"./set/%s", NULL, {NULL}},
    {"set//%s", NULL, {NULL}},
    {"set/%s", "deep/er/%s", {NULL}},
    {"set/%s", "../%s", {NULL}},
    {"set/%s", "set/%s.bak", {NULL}},
    {"../%s",
     NULL,
     {"train.bin not found", "1 left out before, the first", "../train.bin: a name that"}},
    {"set/../%s",
     "/%s",
     {"train.bin not found", "2 left out before, the first", "a name that points"}},
    {"/%s",
     NULL,
     {"train.bin not found", "1 left out before, the first", "/train.bin: a name that"}},
    {"set/deep/%s", NULL, {"train.bin not found", "wanted: train.bin, test.bin"}},
    {"set/%s", "other/%s", {".tar: train.bin: held more than once"}},
};

static void write_named(struct archive *archive, const char *form, const struct member *member)
{
    char name[80] = "";
    const char *gap = strstr(form, "%s");
    snprintf(name, sizeof(name), "%.*s%s%s", (int)(gap - form), form, member->name, gap + 2);
    write_entry(archive, name, member);
}

static void entry_names_are_not_trusted(void **state)
{
    struct files files = {0};
    make_cifar100(&files);
    for (size_t row = 0; row < sizeof(namings) / sizeof(namings[0]); row++) {
        const struct naming *naming = &namings[row];
        const char *path = place(TAR, NULL, next_number());
        struct archive *archive = begin_archive(path, ARCHIVE_FILTER_NONE, true);
        write_named(archive, naming->first, &files.member[0]);
        write_named(archive, "set/%s", &files.member[1]);
        if (naming->second)
            write_named(archive, naming->second, &files.member[0]);
        write_named(archive, "set/%s", &files.member[2]);
        end_archive(archive);
        struct dataset dataset = {0};
        enum retort_status status = open_at("cifar100", path, &skip_bad, &dataset);
        if (naming->pieces[0])
            check_message(status, RETORT_FORMAT, naming->pieces, (int)row);
        else
            assert_ok(status);
        dataset_release(&dataset);
    }
    release_files(&files);
}

static void a_link_is_no_member(void **state)
{
    struct files files = {0};
    struct dataset dataset;
    make_cifar100(&files);
    const char *path = place(TAR, NULL, next_number());
    struct archive *archive = begin_archive(path, ARCHIVE_FILTER_NONE, true);
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, "set/train.bin");
    archive_entry_set_filetype(entry, AE_IFLNK);
    archive_entry_set_symlink(entry, "/etc/passwd");
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    archive_entry_free(entry);
    write_named(archive, "set/%s", &files.member[1]);
    write_named(archive, "set/%s", &files.member[2]);
    end_archive(archive);
    assert_fails(open_at("cifar100", path, NULL, &dataset), RETORT_FORMAT, "train.bin not found");
    release_files(&files);
}

/* 80 MB of zeros in 80 kB, where 72 MB are the most that a set and its surroundings may take. */
static void an_archive_unpacks_to_a_bounded_size(void **state)
{
    struct dataset dataset;
    struct member zeros = {.name = "zeros", .size = 80000000};
    zeros.data = calloc(1, zeros.size);
    assert_non_null(zeros.data);
    const char *path = place(TAR_GZ, NULL, next_number());
    struct archive *archive = begin_archive(path, ARCHIVE_FILTER_GZIP, true);
    write_named(archive, "%s", &zeros);
    end_archive(archive);
    free(zeros.data);
    assert_fails(open_at("mnist", path, NULL, &dataset), RETORT_FORMAT, "at most that many");
}

static void what_is_no_set_at_all_is_refused(void **state)
{
    struct dataset dataset;
    const char *text = support_path("text"), *empty = support_path("empty.tar.gz");
    const char *packed = support_path("packed.gz"), *hollow = support_path("hollow.tar");
    struct member words = {.data = (unsigned char *)"words", .size = 5};
    unsigned char zeros[10240] = {0};
    assert_ok(file_write(text, "just words", 10));
    assert_ok(file_write(empty, "", 0));
    assert_ok(file_write(hollow, zeros, sizeof(zeros)));
    struct archive *archive = begin_archive(packed, ARCHIVE_FILTER_GZIP, false);
    write_entry(archive, "data", &words);
    end_archive(archive);
    assert_fails(open_at("cifar10", text, NULL, &dataset), RETORT_FORMAT, "/text: no tar archive");
    assert_fails(open_at("cifar10", packed, NULL, &dataset), RETORT_FORMAT,
                 "/packed.gz: no tar archive");
    assert_fails(open_at("cifar10", empty, NULL, &dataset), RETORT_FORMAT, "empty file");
    assert_fails(open_at("cifar10", hollow, NULL, &dataset), RETORT_FORMAT, "data_batch_1.bin");
    assert_fails(open_at("cifar10", "/dev/null", NULL, &dataset), RETORT_IO, "not a regular file");
    assert_fails(open_at("cifar10", support_path("nowhere"), NULL, &dataset), RETORT_IO,
                 "/nowhere: cannot open: No such file");
    assert_ok(file_make_folder(support_path("hollow")));
    assert_fails(open_at("cifar100", support_path("hollow"), NULL, &dataset), RETORT_FORMAT,
                 "/hollow: train.bin, test.bin, fine_label_names.txt not found");
}

static void plain_bytes_are_not_taken_for_gzip(void **state)
{
    struct files files = {0};
    struct dataset dataset;
    int number = next_number();
    make_idx(&files);
    write_files(&files, GZIP, number);
    assert_ok(file_write(place(GZIP, files.member[0].name, number), files.member[0].data,
                         files.member[0].size));
    assert_fails(open_at("mnist", place(GZIP, NULL, number), NULL, &dataset), RETORT_FORMAT,
                 "train-images-idx3-ubyte.gz: not gzip data");
    release_files(&files);
}

/* Specifications. */

static void specifications_are_checked(void **state)
{
    struct dataset dataset;
    const struct dataset_options none = {0}, negative = {.limit = -1}, test = {.test_limit = -2};
    assert_fails(
        dataset_open("cifar:x", &none, &dataset), RETORT_INVALID,
        "\"cifar\" is not a data set; known: fashion-mnist, mnist, kmnist, emnist-letters");
    assert_fails(dataset_open("", &none, &dataset), RETORT_INVALID, "\"\" is not a data set");
    assert_fails(dataset_open("mnist", &none, &dataset), RETORT_INVALID, "write mnist:PATH");
    assert_fails(dataset_open("mnist:", &none, &dataset), RETORT_INVALID, "write mnist:PATH");
    assert_fails(dataset_open("mnist:x", &negative, &dataset), RETORT_INVALID, "limit: -1");
    assert_fails(dataset_open("mnist:x", &test, &dataset), RETORT_INVALID, "test_limit: -2");
}

static void the_home_folder_is_found(void **state)
{
    struct files files = {0};
    struct dataset dataset;
    make_idx(&files);
    int number = next_number();
    write_files(&files, FOLDER, number);
    char home[256], specification[64], *before = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    const char *path = place(FOLDER, NULL, number), *slash = strrchr(path, '/');
    snprintf(home, sizeof(home), "%.*s", (int)(slash - path), path);
    snprintf(specification, sizeof(specification), "mnist:~%.40s", slash);
    setenv("HOME", home, 1);
    const struct dataset_options none = {0};
    assert_ok(dataset_open(specification, &none, &dataset));
    assert_int_equal(dataset.train.count, IDX_TRAIN);
    if (before)
        setenv("HOME", before, 1);
    else
        unsetenv("HOME");
    free(before);
    dataset_release(&dataset);
    release_files(&files);
}

static void every_format_describes_itself(void **state)
{
    int count = 0;
    for (; dataset_formats[count]; count++) {
        assert_non_null(dataset_formats[count]->name);
        assert_non_null(dataset_formats[count]->help);
        assert_true(!dataset_formats[count]->open != !dataset_formats[count]->read);
    }
    assert_int_equal(count, KINDS + ELSEWHERE); /* a format without a row here is a failing test */
}

static void releasing_nothing_is_fine(void **state)
{
    struct dataset dataset = {0};
    dataset_release(&dataset);
}

/* The real sets, where they are. */

static void check_classes(const struct image_set *set, int classes, int each)
{
    int seen[100] = {0};
    for (int i = 0; i < set->count; i++)
        seen[set->labels[i]]++;
    for (int i = 0; i < classes; i++)
        assert_int_equal(seen[i], each);
}

static void the_real_fashion_mnist_is_read(void **state)
{
    struct dataset dataset;
    const struct dataset_options none = {0};
    if (!file_exists("/usr/share/datasets/fashion-mnist"))
        skip();
    assert_ok(dataset_open("fashion-mnist", &none, &dataset));
    assert_int_equal(dataset.train.count, 60000);
    assert_int_equal(dataset.test.count, 10000);
    assert_float_equal(dataset.mean[0], 0.286041, 1e-5);
    assert_float_equal(dataset.std[0], 0.353024, 1e-5);
    assert_string_equal(dataset.class_names[9], "Ankle boot");
    check_classes(&dataset.train, 10, 6000);
    check_classes(&dataset.test, 10, 1000);
    dataset_release(&dataset);
}

static void the_real_cifar100_is_read(void **state)
{
    static const double mean[] = {0.507075, 0.486549, 0.440918};
    static const double std[] = {0.267334, 0.256438, 0.276150};
    const struct dataset_options options = {.limit = 7};
    const char *root = getenv("TEST_ROOT");
    struct dataset dataset;
    char path[256];
    snprintf(path, sizeof(path), "%s/../shared/data/cifar-100-binary.tar.xz", root ? root : ".");
    if (!file_exists(path))
        skip();
    assert_ok(open_at("cifar100", path, &options, &dataset));
    assert_int_equal(dataset.train.count, 700);
    assert_int_equal(dataset.test.count, 10000);
    for (int c = 0; c < 3; c++) {
        assert_float_equal(dataset.mean[c], mean[c], 1e-6);
        assert_float_equal(dataset.std[c], std[c], 1e-6);
    }
    assert_string_equal(dataset.class_names[0], "apple");
    assert_string_equal(dataset.class_names[99], "worm");
    check_classes(&dataset.train, 100, 7);
    check_classes(&dataset.test, 100, 100);
    dataset_release(&dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_read_from_every_container),
        cmocka_unit_test(bad_records_are_left_out_and_listed_when_that_is_asked_for),
        cmocka_unit_test(a_file_cut_between_records_is_refused),
        cmocka_unit_test(a_class_without_images_is_refused),
        cmocka_unit_test(a_limit_keeps_the_first_images_of_each_class),
        cmocka_unit_test(what_is_held_out_leaves_every_class_some),
        cmocka_unit_test(mean_and_std_are_those_of_the_unpadded_training_set),
        cmocka_unit_test(damaged_sets_are_refused_by_name),
        cmocka_unit_test(entry_names_are_not_trusted),
        cmocka_unit_test(a_link_is_no_member),
        cmocka_unit_test(an_archive_unpacks_to_a_bounded_size),
        cmocka_unit_test(what_is_no_set_at_all_is_refused),
        cmocka_unit_test(plain_bytes_are_not_taken_for_gzip),
        cmocka_unit_test(specifications_are_checked),
        cmocka_unit_test(the_home_folder_is_found),
        cmocka_unit_test(every_format_describes_itself),
        cmocka_unit_test(releasing_nothing_is_fine),
        cmocka_unit_test(the_real_fashion_mnist_is_read),
        cmocka_unit_test(the_real_cifar100_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
