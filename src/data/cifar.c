/* cifar.c - CIFAR-10 and CIFAR-100 in the official binary layout, a folder or an archive.
 *
 * A record (https://www.cs.toronto.edu/~kriz/cifar.html) is one label byte, or for CIFAR-100 the
 * coarse and then the fine label, and 3,072 bytes: 32x32 red, green, blue. There is no header, so a
 * file that was cut between two records could be taken for a whole one: files must hold as many as
 * the official ones. Subsets, of equally many whole records in all training files, are read where
 * bad records may be left out. */
#include "data/bundle.h"
#include "data/fetch.h"
#include "data/format.h"
#include "data/image_set.h"

#include <string.h>

enum {
    CHANNELS = 3,
    SIDE = 32,
    PIXELS = CHANNELS * SIDE * SIDE,
    TRAIN_FILES = 5, /* at most */
    TEST_COUNT = 10000,
    NAME_BYTES = 64, /* on average, at most */
};

struct label_byte {
    const char *name;
    int classes;
};

struct cifar_layout {
    const char *train[TRAIN_FILES], *test, *names;
    int train_files, train_count;    /* images in each of them */
    int label_bytes;                 /* of a record */
    const struct label_byte *labels; /* in their order; the last one is the class */
};

static int class_count(const struct cifar_layout *layout)
{
    return layout->labels[layout->label_bytes - 1].classes;
}

static size_t record_size(const struct cifar_layout *layout)
{
    return (size_t)layout->label_bytes + PIXELS;
}

/* Whole records, as many as `first` holds. */
static enum retort_status check_records(const struct cifar_layout *layout,
                                        const struct bundle_member *file,
                                        const struct bundle_member *first)
{
    size_t record = record_size(layout), size = file->bytes.size;
    if (size % record)
        return fail(RETORT_FORMAT,
                    "%s: %zu bytes found, whole records of %zu wanted: %zu follow %zu records",
                    file->where, size, record, size % record, size / record);
    if (size != first->bytes.size)
        return fail(RETORT_FORMAT, "%s: %zu records found, %zu wanted as in %s", file->where,
                    size / record, first->bytes.size / record, first->where);
    return RETORT_OK;
}

static enum retort_status check_labels(const struct cifar_layout *layout,
                                       const struct bundle_member *file, int index,
                                       const unsigned char *record)
{
    for (int k = 0; k < layout->label_bytes; k++)
        if (record[k] >= layout->labels[k].classes)
            return fail(RETORT_FORMAT, "%s: record %d at byte %zu: %s %d found, 0 to %d wanted",
                        file->where, index, (size_t)index * record_size(layout),
                        layout->labels[k].name, record[k], layout->labels[k].classes - 1);
    return RETORT_OK;
}

/* A set that is being filled, image by image. */
struct decoding {
    const struct cifar_layout *layout;
    const struct dataset_options *options;
    struct dataset *dataset; /* for what is skipped */
    struct image_set *set;   /* count: images so far */
};

static enum retort_status decode_records(struct decoding *decoding,
                                         const struct bundle_member *file, int count)
{
    const struct cifar_layout *layout = decoding->layout;
    struct image_set *set = decoding->set;
    const unsigned char *record = file->bytes.data;
    for (int i = 0; i < count; i++, record += record_size(layout)) {
        enum retort_status status = check_labels(layout, file, i, record);
        if (status != RETORT_OK) {
            TRY(dataset_skip(decoding->dataset, decoding->options, status));
            continue;
        }
        set->labels[set->count] = record[layout->label_bytes - 1];
        memcpy(set->pixels + (size_t)set->count++ * PIXELS, record + layout->label_bytes, PIXELS);
    }
    return RETORT_OK;
}

/* What is missing is missing at the end. */
static enum retort_status check_count(const struct decoding *decoding,
                                      const struct bundle_member *file, int wanted)
{
    const size_t found = file->bytes.size / record_size(decoding->layout);
    return found == (size_t)wanted
               ? RETORT_OK
               : dataset_skip(decoding->dataset, decoding->options,
                              fail(RETORT_FORMAT, "%s: %zu records found, %d wanted", file->where,
                                   found, wanted));
}

/* Join files of equally many records into one set. */
static enum retort_status decode_set(struct decoding *decoding, const struct bundle_member *files,
                                     int file_count)
{
    const struct cifar_layout *layout = decoding->layout;
    for (int i = 0; i < file_count; i++)
        TRY(check_records(layout, &files[i], &files[0]));
    int count = (int)(files[0].bytes.size / record_size(layout));
    TRY(image_set_make(decoding->set, count * file_count, CHANNELS, SIDE, SIDE));
    decoding->set->count = 0;
    for (int i = 0; i < file_count; i++)
        TRY(decode_records(decoding, &files[i], count));
    return decoding->set->count > 0 ? RETORT_OK
                                    : fail(RETORT_FORMAT, "%s: no record is left", files[0].where);
}

/* One name a line; lines without one, as at the end of the official file, do not count. */
static enum retort_status decode_names(const struct bundle_member *file, int classes,
                                       struct dataset *dataset)
{
    TRY(dataset_make_classes(dataset, classes));
    int found = 0;
    for (const char *line = (const char *)file->bytes.data; *line;) {
        size_t length = strcspn(line, "\r\n");
        if (length > 0 && found < classes)
            TRY(dataset_name_class(dataset, found, line, length));
        found += length > 0;
        line += length + strspn(line + length, "\r\n");
    }
    if (found != classes)
        return fail(RETORT_FORMAT, "%s: %d class names found, %d wanted", file->where, found,
                    classes);
    return RETORT_OK;
}

static enum retort_status open_cifar(const char *path, const struct cifar_layout *layout,
                                     const struct dataset_options *options, struct dataset *dataset)
{
    struct bundle_member files[TRAIN_FILES + 2] = {0};
    int train = layout->train_files, test = train, names = train + 1, count = train + 2;
    for (int i = 0; i < train; i++) {
        files[i].name = layout->train[i];
        files[i].limit = (size_t)layout->train_count * record_size(layout);
    }
    files[test].name = layout->test;
    files[test].limit = TEST_COUNT * record_size(layout);
    files[names].name = layout->names;
    files[names].limit = (size_t)class_count(layout) * NAME_BYTES;

    enum retort_status status;
    TRY(bundle_read(path, files, count, options, dataset));
    struct decoding decoding = {layout, options, dataset, &dataset->train};
    TRY_DONE(decode_set(&decoding, files, train));
    decoding.set = &dataset->test;
    TRY_DONE(decode_set(&decoding, &files[test], 1));
    TRY_DONE(decode_names(&files[names], class_count(layout), dataset));
    for (int i = 0; i <= test; i++)
        TRY_DONE(check_count(&decoding, &files[i], i < test ? layout->train_count : TEST_COUNT));
    image_set_measure(&dataset->train, dataset->mean, dataset->std);
done:
    bundle_release(files, count);
    return status;
}

static enum retort_status open_cifar10(const char *path, const struct dataset_options *options,
                                       struct dataset *dataset)
{
    static const struct label_byte labels[] = {{"label", 10}};
    static const struct cifar_layout layout = {
        .train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                  "data_batch_5.bin"},
        .test = "test_batch.bin",
        .names = "batches.meta.txt",
        .train_files = 5,
        .train_count = 10000,
        .label_bytes = 1,
        .labels = labels,
    };
    return open_cifar(path, &layout, options, dataset);
}

static enum retort_status open_cifar100(const char *path, const struct dataset_options *options,
                                        struct dataset *dataset)
{
    static const struct label_byte labels[] = {{"coarse label", 20}, {"fine label", 100}};
    static const struct cifar_layout layout = {
        .train = {"train.bin"},
        .test = "test.bin",
        .names = "fine_label_names.txt",
        .train_files = 1,
        .train_count = 50000,
        .label_bytes = 2,
        .labels = labels,
    };
    return open_cifar(path, &layout, options, dataset);
}

/* Sizes and MD5 as the page above publishes them; SHA-256 of the file of that MD5. */
static const struct fetch_source source_cifar10 = {
    .address = "https://www.cs.toronto.edu/~kriz",
    .folder = "data",
    .files = {{"cifar-10-binary.tar.gz", 170052171, "c32a1d4ab5d03f1284b67883e8d87530",
               "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}},
};
static const struct fetch_source source_cifar100 = {
    .address = "https://www.cs.toronto.edu/~kriz",
    .folder = "data",
    .files = {{"cifar-100-binary.tar.gz", 168513733, "03b5dce01913d631647c71ecec9e9cb8", NULL}},
};

const struct dataset_format dataset_cifar10 = {
    .name = "cifar10",
    .default_paths = {"data/cifar-10-batches-bin", "data/cifar-10-binary.tar.gz"},
    .help = "photographs, 10 classes, 50,000 + 10,000 colour images of 32x32, binary version",
    .source = &source_cifar10,
    .open = open_cifar10,
};

const struct dataset_format dataset_cifar100 = {
    .name = "cifar100",
    .default_paths = {"data/cifar-100-binary", "data/cifar-100-binary.tar.gz"},
    .help = "photographs, 100 classes, 50,000 + 10,000 colour images of 32x32, binary version",
    .source = &source_cifar100,
    .open = open_cifar100,
};
