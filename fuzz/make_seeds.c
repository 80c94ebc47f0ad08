/* make_seeds.c - writes the small files that fuzzing begins with: make-fuzz-seeds fuzz/corpus */
#include "images.h"
#include "support.h"

#include <archive.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "data/shard.h"

enum { MOST = 16 };

struct set {
    int count;
    struct images_file files[MOST];
};

static const char *root;

static const char *path_of(const char *target, const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", root, target);
    assert_ok(file_make_folder(path));
    snprintf(path, sizeof(path), "%s/%s/%s", root, target, name);
    return path;
}

static void add(struct set *set, const char *name, const void *data, size_t size)
{
    unsigned char *bytes = malloc(size + 1);
    memcpy(bytes, data, size);
    set->files[set->count++] = (struct images_file){.name = name, .bytes = {bytes, size}};
}

static void add_text(struct set *set, const char *name, const char *text)
{
    add(set, name, text, strlen(text));
}

/* What records.c reads. */
static void write_records(int format, const char *name, const struct set *set)
{
    struct file_writer writer;
    assert_ok(file_begin(path_of("records", name), &writer));
    putc(format, writer.stream);
    for (int i = 0; i < set->count; i++) {
        const struct file_bytes *bytes = &set->files[i].bytes;
        fprintf(writer.stream, "%s\n", set->files[i].name);
        putc((int)(bytes->size & 255), writer.stream);
        putc((int)(bytes->size >> 8 & 255), writer.stream);
        fwrite(bytes->data, 1, bytes->size, writer.stream);
    }
    assert_ok(file_commit(&writer));
}

static void write_tars(const char *target, const struct set *set)
{
    images_write_tar(path_of(target, "set.tar"), ARCHIVE_FILTER_NONE, set->files, set->count);
    images_write_tar(path_of(target, "set.tar.gz"), ARCHIVE_FILTER_GZIP, set->files, set->count);
    images_write_tar(path_of(target, "set.tar.xz"), ARCHIVE_FILTER_XZ, set->files, set->count);
}

/* One image of each class. */
static void make_idx(void)
{
    static unsigned char images[16 + 10 * 784] = {0, 0, 8, 3,  0, 0, 0, 10,
                                                  0, 0, 0, 28, 0, 0, 0, 28};
    static const unsigned char labels[18] = {0, 0, 8, 1, 0, 0, 0, 10, 7, 2, 1, 0, 3, 4, 5, 6, 9, 8};
    struct set set = {0};
    add(&set, "train-images-idx3-ubyte", images, sizeof(images));
    add(&set, "train-labels-idx1-ubyte", labels, sizeof(labels));
    add(&set, "t10k-images-idx3-ubyte", images, sizeof(images));
    add(&set, "t10k-labels-idx1-ubyte", labels, sizeof(labels));
    write_tars("idx", &set);
    write_records(0, "idx", &set);
}

/* One image of each of the 100 classes is small when compressed only. */
static void make_cifar_of(int count, struct set *set)
{
    enum { RECORD = 2 + 3072 };
    static unsigned char records[100 * RECORD];
    char names[1000] = "";
    for (int i = 0; i < 100; i++) {
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "c%d\n", i);
        records[i * RECORD] = (unsigned char)(i / 5);
        records[i * RECORD + 1] = (unsigned char)i;
    }
    add(set, "set/train.bin", records, (size_t)count * RECORD);
    add(set, "set/test.bin", records, (size_t)count * RECORD);
    add_text(set, "set/fine_label_names.txt", names);
}

static void make_cifar(void)
{
    struct set one = {0}, all = {0};
    make_cifar_of(1, &one);
    make_cifar_of(100, &all);
    write_tars("cifar", &one);
    images_write_tar(path_of("cifar", "all.tar.gz"), ARCHIVE_FILTER_GZIP, all.files, all.count);
    images_write_tar(path_of("cifar", "all.tar.xz"), ARCHIVE_FILTER_XZ, all.files, all.count);
    write_records(1, "cifar", &one);
}

static struct file_bytes make_image(int kind)
{
    uint8_t pixels[8 * 8 * 4];
    for (size_t i = 0; i < sizeof(pixels); i++)
        pixels[i] = (uint8_t)(i * 7);
    switch (kind) {
    case 0:
        return images_png(pixels, 8, 8, 3);
    case 1:
        return images_jpeg(pixels, 8, 8, 3, false);
    case 2:
        return images_jpeg(pixels, 8, 8, 1, true);
    case 3:
        return images_png(pixels, 5, 9, 4);
    case 4:
        return images_jpeg(pixels, 8, 8, 4, false);
    default:
        return images_png(pixels, 8, 8, 1);
    }
}

static void make_images(void)
{
    for (int kind = 0; kind < 6; kind++) {
        char name[16];
        struct file_bytes image = make_image(kind);
        snprintf(name, sizeof(name), "image-%d", kind);
        assert_ok(file_write(path_of("image", name), image.data, image.size));
        free(image.data);
    }
}

static void make_folders(void)
{
    struct file_bytes png = make_image(0), jpeg = make_image(1);
    struct set set = {0}, parts = {0}, tiny = {0};
    add(&set, "train/a/1.png", png.data, png.size);
    add(&set, "train/b/2.jpg", jpeg.data, jpeg.size);
    add(&set, "val/a/3.jpg", jpeg.data, jpeg.size);
    add(&set, "val/b/4.png", png.data, png.size);
    write_tars("folder", &set);
    add(&parts, "train/a/1.png", png.data, png.size);
    add(&parts, "train/b/2.jpg", jpeg.data, jpeg.size);
    add(&parts, "val/a/3.jpg", jpeg.data, jpeg.size);
    add(&parts, "test/a/4.png", png.data, png.size);
    add(&parts, "test/b/5.jpg", jpeg.data, jpeg.size);
    images_write_tar(path_of("folder", "parts.tar"), ARCHIVE_FILTER_NONE, parts.files, parts.count);
    write_records(2, "folder", &set);
    add_text(&tiny, "t/wnids.txt", "n1\nn2\n");
    add_text(&tiny, "t/words.txt", "n1\tone\nn2\ttwo\n");
    add(&tiny, "t/train/n1/images/1.JPEG", jpeg.data, jpeg.size);
    add(&tiny, "t/train/n2/images/2.JPEG", jpeg.data, jpeg.size);
    add(&tiny, "t/val/images/3.JPEG", jpeg.data, jpeg.size);
    add(&tiny, "t/val/images/4.JPEG", jpeg.data, jpeg.size);
    add_text(&tiny, "t/val/val_annotations.txt",
             "3.JPEG\tn1\t0\t0\t1\t1\n4.JPEG\tn2\t0\t0\t1\t1\n");
    write_tars("tiny_imagenet", &tiny);
    write_records(3, "tiny_imagenet", &tiny);
    free(png.data);
    free(jpeg.data);
}

static void make_arrays(void)
{
    static const uint8_t rows[2 * 768] = {1, 2, 3};
    static const int64_t labels[2] = {1, 2};
    struct file_bytes data = images_npy("|u1", "(2, 768)", rows, sizeof(rows));
    struct file_bytes numbers = images_npy("<i8", "(2,)", labels, sizeof(labels));
    struct set set = {0};
    add(&set, "data.npy", data.data, data.size);
    add(&set, "labels.npy", numbers.data, numbers.size);
    images_write_zip(path_of("npz", "stored.npz"), true, set.files, set.count);
    images_write_zip(path_of("npz", "deflated.npz"), false, set.files, set.count);
    assert_ok(file_write(path_of("npy", "data.npy"), data.data, 128));
    assert_ok(file_write(path_of("npy", "labels.npy"), numbers.data, 128));
    free(data.data);
    free(numbers.data);
}

/* Descriptions of what shard.c has beside it, without and with validation images. */
static void make_shard(void)
{
    static const uint8_t zeros[4];
    static int labels[2] = {0, 1};
    static char *names[2] = {"a", "b"}, remark[] = "a remark";
    uint64_t sum = hash_bytes(HASH_START, zeros, sizeof(zeros)), sums[2] = {sum, sum};
    const struct image_set train = {
        .count = 2, .channels = 1, .height = 2, .width = 2, .labels = labels, .sums = sums};
    struct image_set test = train, val = {0};
    struct dataset dataset = {
        .name = "x", .classes = 2, .class_names = names, .mean = {0.5f}, .std = {0.25f}};
    const char *folder = support_path("shard");
    struct file_bytes text;
    test.count = 1;
    assert_ok(file_make_folder(folder));
    for (int with = 0; with < 2; with++) {
        assert_ok(shard_describe(folder, &dataset, &train, &test, &val));
        assert_ok(file_read(support_path("shard/shard.json"), 100000, &text));
        assert_ok(
            file_write(path_of("shard", with ? "val.json" : "shard.json"), text.data, text.size));
        free(text.data);
        val = test;
        dataset.remark = remark;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    root = argv[1];
    make_idx();
    make_cifar();
    make_images();
    make_folders();
    make_arrays();
    make_shard();
    return 0;
}
