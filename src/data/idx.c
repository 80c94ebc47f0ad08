/* idx.c - MNIST and its relatives: four IDX files, grey images of 28x28.
 *
 * IDX (http://yann.lecun.com/exdb/mnist): two zero bytes, the type (8: unsigned bytes), the number
 * of dimensions, each dimension as 4 big-endian bytes, the values in row-major order.
 * Images are padded with zeros to 32x32, so that they fit the networks that were made for CIFAR.
 *
 * EMNIST (Cohen et al., 2017) stores its images with rows and columns exchanged, which is undone
 * here, and the labels of "letters" begin at 1. */
#include "data/bundle.h"
#include "data/fetch.h"
#include "data/format.h"
#include "data/image_set.h"

#include <string.h>

enum {
    SIDE = 28,
    PADDED_SIDE = 32,
    IMAGE_RANK = 3,
    LABEL_RANK = 1,
};

struct idx_layout {
    const char *files[4];        /* training images, labels, test images, labels */
    int train_count, test_count; /* images at most */
    int classes, first_label;
    bool transposed;
    const char *const *names; /* of classes, or NULL: `letters`, one character each */
    const char *letters;
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

static void copy_image(const struct idx_layout *layout, const unsigned char *src, uint8_t *dst)
{
    if (!layout->transposed) {
        memcpy(dst, src, SIDE * SIDE);
        return;
    }
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            dst[y * SIDE + x] = src[x * SIDE + y];
}

static enum retort_status check_label(const struct idx_layout *layout,
                                      const struct bundle_member *labels, int index, int label)
{
    int last = layout->first_label + layout->classes - 1;
    return label >= layout->first_label && label <= last
               ? RETORT_OK
               : fail(RETORT_FORMAT, "%s: record %d: label %d found, %d to %d wanted",
                      labels->where, index, label, layout->first_label, last);
}

/* files: images, labels. */
static enum retort_status decode_set(const struct idx_layout *layout,
                                     const struct bundle_member *files,
                                     const struct dataset_options *options, struct dataset *dataset,
                                     struct image_set *set)
{
    const struct bundle_member *images = &files[0], *labels = &files[1];
    uint32_t dims[IMAGE_RANK] = {0}, count = 0;
    TRY(read_header(images, IMAGE_RANK, dims));
    TRY(read_header(labels, LABEL_RANK, &count));
    if (count != dims[0])
        return fail(RETORT_FORMAT, "%s: %u labels found, %s wants %u", labels->where, count,
                    images->where, dims[0]);
    TRY(image_set_make(set, (int)count, 1, SIDE, SIDE));
    set->count = 0;
    for (int i = 0; i < (int)count; i++) {
        int label = labels->bytes.data[HEADER(LABEL_RANK) + (size_t)i];
        enum retort_status status = check_label(layout, labels, i, label);
        if (status != RETORT_OK) {
            TRY(dataset_skip(dataset, options, status));
            continue;
        }
        size_t place = (size_t)set->count++ * SIDE * SIDE;
        copy_image(layout, images->bytes.data + HEADER(IMAGE_RANK) + (size_t)i * SIDE * SIDE,
                   set->pixels + place);
        set->labels[set->count - 1] = label - layout->first_label;
    }
    return set->count > 0 ? RETORT_OK : fail(RETORT_FORMAT, "%s: no record is left", labels->where);
}

static enum retort_status name_classes(const struct idx_layout *layout, struct dataset *dataset)
{
    TRY(dataset_make_classes(dataset, layout->classes));
    for (int i = 0; i < layout->classes; i++) {
        const char *name = layout->names ? layout->names[i] : layout->letters + i;
        TRY(dataset_name_class(dataset, i, name, layout->names ? strlen(name) : 1));
    }
    return RETORT_OK;
}

static enum retort_status open_idx(const char *path, const struct idx_layout *layout,
                                   const struct dataset_options *options, struct dataset *dataset)
{
    enum { FILES = 4 };
    struct bundle_member files[FILES] = {0};
    for (int i = 0; i < FILES; i++) {
        size_t count = (size_t)(i < 2 ? layout->train_count : layout->test_count);
        files[i].name = layout->files[i];
        files[i].limit =
            i % 2 ? HEADER(LABEL_RANK) + count : HEADER(IMAGE_RANK) + count * SIDE * SIDE;
    }
    enum retort_status status;
    TRY(bundle_read(path, files, FILES, options, dataset));
    TRY_DONE(decode_set(layout, &files[0], options, dataset, &dataset->train));
    TRY_DONE(decode_set(layout, &files[2], options, dataset, &dataset->test));
    image_set_measure(&dataset->train, dataset->mean, dataset->std);
    TRY_DONE(image_set_pad(&dataset->train, PADDED_SIDE, PADDED_SIDE));
    TRY_DONE(image_set_pad(&dataset->test, PADDED_SIDE, PADDED_SIDE));
    TRY_DONE(name_classes(layout, dataset));
done:
    bundle_release(files, FILES);
    return status;
}

/* ---- the sets ---- */

#define MNIST_FILES                                                                                \
    {                                                                                              \
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",            \
            "t10k-labels-idx1-ubyte"                                                               \
    }
#define EMNIST_FILES(part)                                                                         \
    {                                                                                              \
        "emnist-" part "-train-images-idx3-ubyte", "emnist-" part "-train-labels-idx1-ubyte",      \
            "emnist-" part "-test-images-idx3-ubyte", "emnist-" part "-test-labels-idx1-ubyte"     \
    }

#define IDX_OPEN(set)                                                                              \
    static enum retort_status open_##set(const char *path, const struct dataset_options *options,  \
                                         struct dataset *dataset)                                  \
    {                                                                                              \
        return open_idx(path, &layout_##set, options, dataset);                                    \
    }

static const char *const clothes[] = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                      "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
static const char *const kana[] = {"o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"};

static const struct idx_layout layout_fashion_mnist = {.files = MNIST_FILES,
                                                       .train_count = 60000,
                                                       .test_count = 10000,
                                                       .classes = 10,
                                                       .names = clothes};
static const struct idx_layout layout_mnist = {.files = MNIST_FILES,
                                               .train_count = 60000,
                                               .test_count = 10000,
                                               .classes = 10,
                                               .letters = "0123456789"};
static const struct idx_layout layout_kmnist = {
    .files = MNIST_FILES, .train_count = 60000, .test_count = 10000, .classes = 10, .names = kana};
static const struct idx_layout layout_emnist_letters = {.files = EMNIST_FILES("letters"),
                                                        .train_count = 124800,
                                                        .test_count = 20800,
                                                        .classes = 26,
                                                        .first_label = 1,
                                                        .transposed = true,
                                                        .letters = "abcdefghijklmnopqrstuvwxyz"};
static const struct idx_layout layout_emnist_digits = {.files = EMNIST_FILES("digits"),
                                                       .train_count = 240000,
                                                       .test_count = 40000,
                                                       .classes = 10,
                                                       .transposed = true,
                                                       .letters = "0123456789"};
/* Lower-case letters that look like their upper-case ones share a class with these. */
static const struct idx_layout layout_emnist_balanced = {
    .files = EMNIST_FILES("balanced"),
    .train_count = 112800,
    .test_count = 18800,
    .classes = 47,
    .transposed = true,
    .letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"};

static const struct idx_layout layout_emnist_byclass = {
    .files = EMNIST_FILES("byclass"),
    .train_count = 697932,
    .test_count = 116323,
    .classes = 62,
    .transposed = true,
    .letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"};
static const struct idx_layout layout_emnist_bymerge = {
    .files = EMNIST_FILES("bymerge"),
    .train_count = 697932,
    .test_count = 116323,
    .classes = 47,
    .transposed = true,
    .letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"};
static const struct idx_layout layout_emnist_mnist = {.files = EMNIST_FILES("mnist"),
                                                      .train_count = 60000,
                                                      .test_count = 10000,
                                                      .classes = 10,
                                                      .transposed = true,
                                                      .letters = "0123456789"};

IDX_OPEN(fashion_mnist)
IDX_OPEN(mnist)
IDX_OPEN(kmnist)
IDX_OPEN(emnist_letters)
IDX_OPEN(emnist_digits)
IDX_OPEN(emnist_balanced)
IDX_OPEN(emnist_byclass)
IDX_OPEN(emnist_bymerge)
IDX_OPEN(emnist_mnist)

/* Address and MD5 as https://github.com/zalandoresearch/fashion-mnist publishes them; sizes as the
 * server tells them. */
static const struct fetch_source source_fashion_mnist = {
    .address = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    .folder = "data/fashion-mnist",
    .files = {{"train-images-idx3-ubyte.gz", 26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d", NULL},
              {"train-labels-idx1-ubyte.gz", 29515, "25c81989df183df01b3e8a0aad5dffbe", NULL},
              {"t10k-images-idx3-ubyte.gz", 4422102, "bef4ecab320f06d8554ea6380940ec79", NULL},
              {"t10k-labels-idx1-ubyte.gz", 5148, "bb300cfdad3c16e7a12a480ee83cd310", NULL}},
};

const struct dataset_format dataset_fashion_mnist = {
    .name = "fashion-mnist",
    .default_paths = {"/usr/share/datasets/fashion-mnist", "data/fashion-mnist"},
    .help = "clothes, 10 classes, 60,000 + 10,000 grey images of 28x28 (Debian: "
            "dataset-fashion-mnist)",
    .source = &source_fashion_mnist,
    .open = open_fashion_mnist,
};

const struct dataset_format dataset_mnist = {
    .name = "mnist",
    .help = "handwritten digits, 10 classes, 60,000 + 10,000 grey images of 28x28, four IDX files",
    .open = open_mnist,
};

const struct dataset_format dataset_kmnist = {
    .name = "kmnist",
    .help = "handwritten kana, 10 classes, 60,000 + 10,000 grey images of 28x28, four IDX files",
    .open = open_kmnist,
};

const struct dataset_format dataset_emnist_letters = {
    .name = "emnist-letters",
    .help = "handwritten letters, 26 classes, 124,800 + 20,800 grey images of 28x28, IDX files",
    .open = open_emnist_letters,
};

const struct dataset_format dataset_emnist_digits = {
    .name = "emnist-digits",
    .help = "handwritten digits, 10 classes, 240,000 + 40,000 grey images of 28x28, IDX files",
    .open = open_emnist_digits,
};

const struct dataset_format dataset_emnist_balanced = {
    .name = "emnist-balanced",
    .help = "digits and letters, 47 classes, 112,800 + 18,800 grey images of 28x28, IDX files",
    .open = open_emnist_balanced,
};

const struct dataset_format dataset_emnist_byclass = {
    .name = "emnist-byclass",
    .help = "digits and letters, 62 classes, 697,932 + 116,323 grey images of 28x28, IDX files",
    .open = open_emnist_byclass,
};

const struct dataset_format dataset_emnist_bymerge = {
    .name = "emnist-bymerge",
    .help = "digits and letters, 47 classes, 697,932 + 116,323 grey images of 28x28, IDX files",
    .open = open_emnist_bymerge,
};

const struct dataset_format dataset_emnist_mnist = {
    .name = "emnist-mnist",
    .help = "handwritten digits, 10 classes, 60,000 + 10,000 grey images of 28x28, IDX files",
    .open = open_emnist_mnist,
};
