/* imagenet.c - downsampled ImageNet (Chrabaszcz, Loshchilov, Hutter, 2017) in its npz layout.
 *
 *     train_data_batch_1.npz .. train_data_batch_10.npz, val_data.npz
 *
 * An npz file is a zip archive of arrays: `data` (n, 3 side side) bytes, an image a row, red, green
 * and blue planes; `labels` (n) from 1 on; and others, which are passed over. The whole set of
 * 64x64 is 15.7 GB, so rows go through one buffer, and labels, which come later in the archive, are
 * given to places that are filled already.
 *
 * Classes are as many as the largest training label says. map_clsloc.txt (class, label, name a
 * line) gives them names, where it lies beside the files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/format.h"
#include "data/image_writer.h"
#include "data/npy.h"
#include "data/zip.h"

enum {
    CHANNELS = 3,
    TRAIN_FILES = 10,
    FILES = TRAIN_FILES + 1,
    MOST_CLASSES = 1000,
    MOST_IMAGES = 2000000, /* in a file */
    LARGEST_MAP = 1 << 20,
};

struct reading {
    const char *folder;
    int side;
    const struct dataset_options *options;
    struct dataset *dataset;
    struct image_writer *writer;
    int counts[FILES]; /* images in each file */
    int most;          /* the largest label of the training files */
};

static void file_name(int file, char *name, size_t size)
{
    if (file < TRAIN_FILES)
        snprintf(name, size, "train_data_batch_%d.npz", file + 1);
    else
        snprintf(name, size, "val_data.npz");
}

/* ---- arrays ---- */

static enum retort_status read_header(struct zip *zip, struct npy *npy)
{
    unsigned char header[NPY_LARGEST_HEADER];
    size_t length;
    TRY(zip_read(zip, header, NPY_PREFIX));
    TRY(npy_measure(header, &length));
    TRY(zip_read(zip, header + NPY_PREFIX, length - NPY_PREFIX));
    return npy_read(header, length, npy);
}

static enum retort_status check_data(const struct npy *npy, size_t row)
{
    if (npy->kind != 'u' || npy->bytes != 1 || npy->rank != 2 || npy->shape[1] != row)
        return fail(RETORT_FORMAT,
                    "%d dimensions (%llu, %llu) of type %c%d found, (images, %zu) of u1 wanted",
                    npy->rank, (unsigned long long)npy->shape[0], (unsigned long long)npy->shape[1],
                    npy->kind, npy->bytes, row);
    if (npy->shape[0] < 1 || npy->shape[0] > MOST_IMAGES)
        return fail(RETORT_FORMAT, "%llu images found, 1 to %d wanted",
                    (unsigned long long)npy->shape[0], MOST_IMAGES);
    return RETORT_OK;
}

static enum retort_status check_labels(const struct npy *npy, int count)
{
    if (npy->kind == 'f' || npy->rank != 1)
        return fail(RETORT_FORMAT, "%d dimensions of type %c%d found, 1 of whole numbers wanted",
                    npy->rank, npy->kind, npy->bytes);
    if (npy->shape[0] != (uint64_t)count)
        return fail(RETORT_FORMAT, "%llu labels found, %d wanted, one for each image",
                    (unsigned long long)npy->shape[0], count);
    return RETORT_OK;
}

static size_t row_size(const struct reading *reading)
{
    return CHANNELS * (size_t)reading->side * (size_t)reading->side;
}

/* ---- first round: how many ---- */

static enum retort_status count_in(struct reading *reading, struct zip *zip, int *count)
{
    const char *name;
    struct npy npy;
    do {
        TRY(zip_next(zip, &name));
        if (!name)
            return fail(RETORT_FORMAT, "no array data.npy found");
    } while (strcmp(name, "data.npy") != 0);
    TRY(read_header(zip, &npy));
    TRY(check_data(&npy, row_size(reading)));
    *count = (int)npy.shape[0];
    return RETORT_OK;
}

/* ---- second round ---- */

struct place {
    enum image_part part;
    int first, count; /* the file's images in the part */
    bool has_data, has_labels;
};

static enum retort_status read_data(struct reading *reading, struct zip *zip, struct place *place)
{
    struct npy npy;
    size_t row = row_size(reading);
    if (place->has_data)
        return fail(RETORT_FORMAT, "held more than once");
    TRY(read_header(zip, &npy));
    TRY(check_data(&npy, row));
    if (npy.shape[0] != (uint64_t)place->count)
        return fail(RETORT_FORMAT, "changed while it was read");
    void *pixels;
    TRY(memory_zeroed(1, row, &pixels));
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < place->count && status == RETORT_OK; i++) {
        status = zip_read(zip, pixels, row);
        if (status != RETORT_OK)
            status = fail_in(status, "image %d of %d", i, place->count);
        else
            status = image_writer_put(reading->writer, place->part, place->first + i, pixels);
    }
    free(pixels);
    place->has_data = true;
    return status == RETORT_OK ? zip_finish(zip) : status;
}

static enum retort_status check_label(const struct reading *reading, const struct place *place,
                                      int index, int64_t label)
{
    int most = place->part == IMAGE_TRAIN ? MOST_CLASSES : reading->most;
    return label >= 1 && label <= most
               ? RETORT_OK
               : fail(RETORT_FORMAT, "labels.npy: record %d: label %lld found, 1 to %d wanted",
                      index, (long long)label, most);
}

static enum retort_status take_label(struct reading *reading, const char *path,
                                     const struct place *place, int index, int64_t label)
{
    enum retort_status status = check_label(reading, place, index, label);
    if (status != RETORT_OK)
        return dataset_skip(reading->dataset, reading->options, fail_in(status, "%s", path));
    if (place->part == IMAGE_TRAIN && label > reading->most)
        reading->most = (int)label;
    image_writer_label(reading->writer, place->part, place->first + index, (int)label - 1);
    return RETORT_OK;
}

/* In memory until the images are there: the archive may hold the labels before them. */
static enum retort_status read_labels(struct zip *zip, int count, int64_t *labels)
{
    struct npy npy;
    unsigned char number[8];
    TRY(read_header(zip, &npy));
    TRY(check_labels(&npy, count));
    for (int i = 0; i < count; i++) {
        TRY(zip_read(zip, number, (size_t)npy.bytes));
        labels[i] = npy_integer(&npy, number);
    }
    return zip_finish(zip);
}

static enum retort_status read_arrays(struct reading *reading, struct zip *zip, const char *path,
                                      struct place *place, int64_t *labels)
{
    for (;;) {
        const char *name;
        enum retort_status status = zip_next(zip, &name);
        if (status != RETORT_OK)
            return fail_in(status, "%s", path);
        if (!name)
            break;
        bool is_labels = strcmp(name, "labels.npy") == 0;
        if (is_labels && place->has_labels)
            status = fail(RETORT_FORMAT, "held more than once");
        else if (is_labels)
            status = read_labels(zip, place->count, labels);
        else if (strcmp(name, "data.npy") == 0)
            status = read_data(reading, zip, place);
        place->has_labels |= is_labels;
        if (status != RETORT_OK)
            return fail_in(status, "%s: %s", path, name);
    }
    if (!place->has_data || !place->has_labels)
        return fail(RETORT_FORMAT, "%s: no array %s found", path,
                    place->has_data ? "labels.npy" : "data.npy");
    for (int i = 0; i < place->count; i++)
        TRY(take_label(reading, path, place, i, labels[i]));
    return RETORT_OK;
}

static enum retort_status read_place(struct reading *reading, struct zip *zip, const char *path,
                                     struct place *place)
{
    void *labels;
    TRY(memory_zeroed((size_t)place->count, sizeof(int64_t), &labels));
    enum retort_status status = read_arrays(reading, zip, path, place, labels);
    free(labels);
    return status;
}

/* One of the eleven files: place NULL counts only. */
static enum retort_status visit_file(struct reading *reading, int file, struct place *place)
{
    char name[40];
    struct zip *zip = NULL;
    file_name(file, name, sizeof(name));
    char *path = file_join(reading->folder, name);
    if (!path)
        return fail(RETORT_MEMORY, "%s: out of memory", reading->folder);
    enum retort_status status = zip_open(path, &zip);
    if (status != RETORT_OK)
        status = fail_in(status, "%s", path);
    else if (place)
        status = read_place(reading, zip, path, place);
    else {
        status = count_in(reading, zip, &reading->counts[file]);
        if (status != RETORT_OK)
            status = fail_in(status, "%s: data.npy", path);
    }
    zip_close(zip);
    free(path);
    return status;
}

/* ---- classes ---- */

/* "n02119789 1 kit_fox" */
static void read_map(const char *text, struct dataset *dataset)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        int label = 0, start = 0;
        if (sscanf(line, "%*s %d %n", &label, &start) != 1 || start == 0 || label < 1 ||
            label > dataset->classes)
            continue;
        size_t length = strcspn(line + start, "\r\n");
        char *name = length > 0 ? strndup(line + start, length) : NULL;
        if (name) {
            free(dataset->class_names[label - 1]);
            dataset->class_names[label - 1] = name;
        }
    }
}

static enum retort_status name_classes(const struct reading *reading)
{
    struct dataset *dataset = reading->dataset;
    TRY(dataset_make_classes(dataset, reading->most));
    for (int i = 0; i < dataset->classes; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%d", i + 1);
        TRY(dataset_name_class(dataset, i, number, strlen(number)));
    }
    char *map = file_join(reading->folder, "map_clsloc.txt");
    struct file_bytes bytes = {0};
    enum retort_status status = RETORT_OK;
    if (map && file_exists(map))
        status = file_read(map, LARGEST_MAP, &bytes);
    if (status == RETORT_OK && bytes.data)
        read_map((const char *)bytes.data, dataset);
    free(bytes.data);
    free(map);
    return status;
}

/* ---- the set ---- */

static enum retort_status read_files(struct reading *reading)
{
    int train = 0;
    for (int i = 0; i < FILES; i++)
        TRY(visit_file(reading, i, NULL));
    for (int i = 0; i < TRAIN_FILES; i++)
        train += reading->counts[i];
    int side = reading->side, test = reading->counts[TRAIN_FILES];
    TRY(image_writer_begin(reading->writer, IMAGE_TRAIN, train, CHANNELS, side, side));
    TRY(image_writer_begin(reading->writer, IMAGE_TEST, test, CHANNELS, side, side));
    for (int i = 0, first = 0; i < FILES; first += reading->counts[i++]) {
        struct place place = {.part = i < TRAIN_FILES ? IMAGE_TRAIN : IMAGE_TEST,
                              .first = i < TRAIN_FILES ? first : 0,
                              .count = reading->counts[i]};
        TRY(visit_file(reading, i, &place));
    }
    return name_classes(reading);
}

static enum retort_status read_imagenet(const char *path, int side,
                                        const struct dataset_options *options,
                                        struct image_writer *writer, struct dataset *dataset)
{
    if (!file_is_folder(path))
        return fail(RETORT_IO, "%s: a folder wanted that holds train_data_batch_1.npz and others",
                    path);
    void *block;
    TRY(memory_zeroed(1, sizeof(struct reading), &block));
    struct reading *reading = block;
    reading->folder = path;
    reading->side = side;
    reading->options = options;
    reading->dataset = dataset;
    reading->writer = writer;
    enum retort_status status = read_files(reading);
    free(reading);
    return status;
}

#define IMAGENET(side)                                                                             \
    static enum retort_status read_imagenet##side(                                                 \
        const char *path, const struct dataset_options *options, struct image_writer *writer,      \
        struct dataset *dataset)                                                                   \
    {                                                                                              \
        return read_imagenet(path, side, options, writer, dataset);                                \
    }                                                                                              \
    const struct dataset_format dataset_imagenet##side = {                                         \
        .name = "imagenet" #side,                                                                  \
        .help = "photographs, 1,000 classes, 1,281,167 + 50,000 colour images of " #side "x" #side \
                ", eleven npz files",                                                              \
        .read = read_imagenet##side,                                                               \
    };

IMAGENET(64)
IMAGENET(32)
IMAGENET(16)
