/* idx.c - Fashion-MNIST and MNIST: four IDX files, grey images of 28x28, 10 classes.
 *
 * IDX (http://yann.lecun.com/exdb/mnist): two zero bytes, the type (8: unsigned bytes), the number
 * of dimensions, each dimension as 4 big-endian bytes, the values in row-major order.
 * Images are padded with zeros to 32x32, so that they fit the networks that were made for CIFAR. */
#include "data/bundle.h"
#include "data/format.h"
#include "data/image_set.h"

#include <string.h>

enum {
    SIDE = 28,
    PADDED_SIDE = 32,
    CLASSES = 10,
    IMAGE_RANK = 3,
    LABEL_RANK = 1,
    TRAIN_COUNT = 60000, /* images at most */
    TEST_COUNT = 10000,
};

/* Bytes before the values. */
#define HEADER(rank) (4 + 4 * (size_t)(rank))

static uint32_t big_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Check the header, and that the values are as many as it promises. */
static enum retort_status read_header(const struct bundle_member *file, int rank, uint32_t *dims)
{
    const unsigned char *data = file->bytes.data;
    size_t header = HEADER(rank);
    if (file->bytes.size < header)
        return fail(RETORT_FORMAT, "%s: %zu bytes found, a header of %zu wanted", file->where,
                    file->bytes.size, header);
    uint32_t magic = big_endian(data), wanted = UINT32_C(0x800) | (uint32_t)rank;
    if (magic != wanted)
        return fail(RETORT_FORMAT, "%s: magic number 0x%08x found, 0x%08x wanted", file->where,
                    magic, wanted);
    for (int i = 0; i < rank; i++) {
        dims[i] = big_endian(data + 4 + 4 * i);
        if (i > 0 && dims[i] != SIDE)
            return fail(RETORT_FORMAT, "%s: images of %u %s found, %d wanted", file->where, dims[i],
                        i == 1 ? "rows" : "columns", SIDE);
    }
    size_t item = rank == IMAGE_RANK ? SIDE * SIDE : 1, values = file->bytes.size - header;
    if (values != dims[0] * (uint64_t)item)
        return fail(RETORT_FORMAT, "%s: %zu bytes found, its header wants %u items of %zu",
                    file->where, values, dims[0], item);
    if (values == 0)
        return fail(RETORT_FORMAT, "%s: holds no items", file->where);
    return RETORT_OK;
}

static enum retort_status decode_set(const struct bundle_member *images,
                                     const struct bundle_member *labels, struct image_set *set)
{
    uint32_t dims[IMAGE_RANK] = {0}, label_count = 0;
    TRY(read_header(images, IMAGE_RANK, dims));
    TRY(read_header(labels, LABEL_RANK, &label_count));
    if (label_count != dims[0])
        return fail(RETORT_FORMAT, "%s: %u labels found, %s wants %u", labels->where, label_count,
                    images->where, dims[0]);
    TRY(image_set_make(set, (int)label_count, 1, SIDE, SIDE));
    memcpy(set->pixels, images->bytes.data + HEADER(IMAGE_RANK),
           (size_t)set->count * image_set_size(set));
    const unsigned char *values = labels->bytes.data + HEADER(LABEL_RANK);
    for (int i = 0; i < set->count; i++) {
        if (values[i] >= CLASSES)
            return fail(RETORT_FORMAT, "%s: record %d: label %d found, 0 to %d wanted",
                        labels->where, i, values[i], CLASSES - 1);
        set->labels[i] = values[i];
    }
    return RETORT_OK;
}

static enum retort_status open_idx(const char *path, const char *const *names,
                                   struct dataset *dataset)
{
    struct bundle_member files[] = {
        {"train-images-idx3-ubyte", HEADER(IMAGE_RANK) + TRAIN_COUNT * SIDE * SIDE},
        {"train-labels-idx1-ubyte", HEADER(LABEL_RANK) + TRAIN_COUNT},
        {"t10k-images-idx3-ubyte", HEADER(IMAGE_RANK) + TEST_COUNT * SIDE * SIDE},
        {"t10k-labels-idx1-ubyte", HEADER(LABEL_RANK) + TEST_COUNT},
    };
    enum { FILES = sizeof(files) / sizeof(files[0]) };
    enum retort_status status;
    TRY(bundle_read(path, files, FILES));
    TRY_DONE(decode_set(&files[0], &files[1], &dataset->train));
    TRY_DONE(decode_set(&files[2], &files[3], &dataset->test));
    image_set_measure(&dataset->train, dataset->mean, dataset->std);
    TRY_DONE(image_set_pad(&dataset->train, PADDED_SIDE, PADDED_SIDE));
    TRY_DONE(image_set_pad(&dataset->test, PADDED_SIDE, PADDED_SIDE));
    TRY_DONE(dataset_make_classes(dataset, CLASSES));
    for (int i = 0; i < CLASSES; i++)
        TRY_DONE(dataset_name_class(dataset, i, names[i], strlen(names[i])));
done:
    bundle_release(files, FILES);
    return status;
}

static enum retort_status open_fashion_mnist(const char *path, struct dataset *dataset)
{
    static const char *const names[CLASSES] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                               "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                               "Bag",         "Ankle boot"};
    return open_idx(path, names, dataset);
}

static enum retort_status open_mnist(const char *path, struct dataset *dataset)
{
    static const char *const names[CLASSES] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    return open_idx(path, names, dataset);
}

const struct dataset_format dataset_fashion_mnist = {
    .name = "fashion-mnist",
    .default_path = "/usr/share/datasets/fashion-mnist",
    .help = "clothes, 10 classes, 60,000 + 10,000 grey images of 28x28 (Debian: "
            "dataset-fashion-mnist)",
    .open = open_fashion_mnist,
};

const struct dataset_format dataset_mnist = {
    .name = "mnist",
    .help = "handwritten digits, 10 classes, 60,000 + 10,000 grey images of 28x28, four IDX files",
    .open = open_mnist,
};
