/* image_writer.c - images into memory, or into temporary files that are renamed at the end. */
#include "data/image_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"
#include "data/shard.h"

static const uint64_t LARGEST_IN_MEMORY = UINT64_C(2) << 30;

/* Instead of a label. */
enum { EMPTY = -1, FILLED = -2 };

void image_writer_init(struct image_writer *writer, const char *folder,
                       const struct dataset_listener *listener)
{
    *writer = (struct image_writer){.folder = folder, .listener = listener};
}

void image_writer_release(struct image_writer *writer)
{
    for (int part = 0; part < IMAGE_PARTS; part++) {
        image_set_release(&writer->parts[part].set);
        free(writer->parts[part].each);
        file_abandon(&writer->parts[part].file);
    }
    *writer = (struct image_writer){0};
}

/* The part's pixels: memory, or a file. */
static enum retort_status make_place(struct image_writer *writer, enum image_part part,
                                     struct image_set *set)
{
    uint64_t bytes = (uint64_t)set->count * image_set_size(set);
    if (writer->folder || writer->looks) {
        void *sums;
        TRY(memory_zeroed((size_t)set->count, sizeof(*set->sums), &sums));
        set->sums = sums;
    }
    if (writer->looks && part == IMAGE_TRAIN) {
        void *each;
        TRY(memory_zeroed((size_t)set->count, sizeof(struct image_sums), &each));
        writer->parts[part].each = each;
    }
    if (writer->looks)
        return RETORT_OK;
    if (writer->folder) {
        char *path = file_join(writer->folder, shard_pixels[part]);
        enum retort_status status = path ? file_begin(path, &writer->parts[part].file)
                                         : fail(RETORT_MEMORY, "%s: out of memory", writer->folder);
        free(path);
        return status;
    }
    if (bytes > LARGEST_IN_MEMORY)
        return fail(RETORT_INVALID,
                    "%d images of %dx%dx%d are %.1f GB, too many for memory: write them to a "
                    "folder with `retort data convert SPEC DIR`, which is then opened as shard:DIR",
                    set->count, set->channels, set->height, set->width, (double)bytes * 1e-9);
    void *pixels;
    TRY(memory_zeroed((size_t)set->count, image_set_size(set), &pixels));
    set->pixels = pixels;
    return RETORT_OK;
}

enum retort_status image_writer_begin(struct image_writer *writer, enum image_part part, int count,
                                      int channels, int height, int width)
{
    struct image_set *set = &writer->parts[part].set;
    *set =
        (struct image_set){.count = count, .channels = channels, .height = height, .width = width};
    void *labels;
    TRY(memory_zeroed((size_t)count, sizeof(*set->labels), &labels));
    set->labels = labels;
    for (int i = 0; i < count; i++)
        set->labels[i] = EMPTY;
    writer->total += count;
    return make_place(writer, part, set);
}

static enum retort_status fail_file(const struct file_writer *file, const char *what)
{
    return fail(RETORT_IO, "%s: cannot %s: %s", file->path, what, strerror(errno));
}

static enum retort_status write_at(const struct file_writer *file, const uint8_t *data, size_t size,
                                   uint64_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(fileno(file->stream), data, size, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return fail_file(file, "write");
        data += written;
        size -= (size_t)written;
        offset += (uint64_t)written;
    }
    return RETORT_OK;
}

static enum retort_status read_at(const struct file_writer *file, uint8_t *data, size_t size,
                                  uint64_t offset)
{
    ssize_t got = pread(fileno(file->stream), data, size, (off_t)offset);
    return got == (ssize_t)size ? RETORT_OK : fail_file(file, "read again");
}

static enum retort_status tell(struct image_writer *writer)
{
    enum { PERIOD = 16 };
    const struct dataset_listener *listener = writer->listener;
    if (!listener || ++writer->done % PERIOD ||
        listener->heard(listener->context, writer->done, writer->total))
        return RETORT_OK;
    return fail(RETORT_STOPPED, "stopped after %ld of %ld images; nothing is left of them",
                writer->done, writer->total);
}

enum retort_status image_writer_put(struct image_writer *writer, enum image_part part, int place,
                                    const uint8_t *pixels)
{
    const struct image_set *set = &writer->parts[part].set;
    size_t size = image_set_size(set), offset = (size_t)place * size;
    set->labels[place] = FILLED;
    if (part == IMAGE_TRAIN)
        image_sums_add(&writer->sums, pixels, set->channels,
                       (size_t)set->height * (size_t)set->width);
    TRY(tell(writer));
    if (writer->looks) {
        struct image_sums *each = writer->parts[part].each;
        set->sums[place] = hash_bytes(HASH_START, pixels, size);
        if (each)
            image_sums_add(&each[place], pixels, set->channels,
                           (size_t)set->height * (size_t)set->width);
        return RETORT_OK;
    }
    if (writer->folder) {
        set->sums[place] = hash_bytes(HASH_START, pixels, size);
        return write_at(&writer->parts[part].file, pixels, size, offset);
    }
    memcpy(set->pixels + offset, pixels, size);
    return RETORT_OK;
}

void image_writer_label(struct image_writer *writer, enum image_part part, int place, int label)
{
    writer->parts[part].set.labels[place] = label;
}

void image_writer_count(const struct image_writer *writer, enum image_part part, int *counts)
{
    const struct image_set *set = &writer->parts[part].set;
    for (int i = 0; i < set->count; i++)
        if (set->labels[i] >= 0)
            counts[set->labels[i]]++;
}

void image_writer_relabel(struct image_writer *writer, enum image_part part, const int *renamed)
{
    struct image_set *set = &writer->parts[part].set;
    for (int i = 0; i < set->count; i++)
        if (set->labels[i] >= 0)
            set->labels[i] = renamed[set->labels[i]] < 0 ? FILLED : renamed[set->labels[i]];
}

/* ---- the end ---- */

/* The image at a place, in `image` when it must be read from a file. */
static enum retort_status view_place(struct image_writer *writer, enum image_part part, int place,
                                     uint8_t *image, const uint8_t **pixels)
{
    const struct image_set *set = &writer->parts[part].set;
    size_t size = image_set_size(set), offset = (size_t)place * size;
    *pixels = writer->folder ? image : set->pixels + offset;
    return writer->folder ? read_at(&writer->parts[part].file, image, size, offset) : RETORT_OK;
}

static enum retort_status move_place(struct image_writer *writer, enum image_part part, int from,
                                     int to, uint8_t *image)
{
    const struct image_set *set = &writer->parts[part].set;
    size_t size = image_set_size(set);
    const uint8_t *pixels;
    TRY(view_place(writer, part, from, image, &pixels));
    if (writer->folder)
        return write_at(&writer->parts[part].file, pixels, size, (size_t)to * size);
    memcpy(set->pixels + (size_t)to * size, pixels, size);
    return RETORT_OK;
}

static enum retort_status close_gaps(struct image_writer *writer, enum image_part part,
                                     uint8_t *image)
{
    struct image_set *set = &writer->parts[part].set;
    int kept = 0;
    for (int i = 0; i < set->count; i++) {
        if (set->labels[i] < 0)
            continue;
        if (kept < i && !writer->looks)
            TRY(move_place(writer, part, i, kept, image));
        if (set->sums)
            set->sums[kept] = set->sums[i];
        set->labels[kept++] = set->labels[i];
    }
    set->count = kept;
    if (writer->folder && ftruncate(fileno(writer->parts[part].file.stream),
                                    (off_t)((size_t)kept * image_set_size(set))))
        return fail_file(&writer->parts[part].file, "shorten");
    return RETORT_OK;
}

/* Images that were put but got no label do not count. */
static enum retort_status correct_sums(struct image_writer *writer, uint8_t *image)
{
    const struct image_set *set = &writer->parts[IMAGE_TRAIN].set;
    size_t plane = (size_t)set->height * (size_t)set->width;
    for (int i = 0; i < set->count; i++) {
        const uint8_t *pixels;
        if (set->labels[i] != FILLED)
            continue;
        if (writer->looks) {
            image_sums_subtract(&writer->sums, &writer->parts[IMAGE_TRAIN].each[i]);
            continue;
        }
        TRY(view_place(writer, IMAGE_TRAIN, i, image, &pixels));
        image_sums_take(&writer->sums, pixels, set->channels, plane);
    }
    return RETORT_OK;
}

static bool is_begun(const struct image_writer_part *part)
{
    return part->set.labels;
}

static enum retort_status finish(struct image_writer *writer, struct dataset *dataset,
                                 uint8_t *image)
{
    struct image_writer_part *parts = writer->parts;
    TRY(correct_sums(writer, image));
    for (int part = 0; part < IMAGE_PARTS; part++)
        if (is_begun(&parts[part]))
            TRY(close_gaps(writer, part, image));
    if (!writer->keeps_statistics)
        image_sums_finish(&writer->sums, parts[IMAGE_TRAIN].set.channels, dataset->mean,
                          dataset->std);
    if (writer->folder) {
        for (int part = 0; part < IMAGE_PARTS; part++)
            if (is_begun(&parts[part]))
                TRY(file_commit(&parts[part].file));
        return shard_describe(writer->folder, dataset, &parts[IMAGE_TRAIN].set,
                              &parts[IMAGE_TEST].set, &parts[IMAGE_VAL].set);
    }
    dataset->train = parts[IMAGE_TRAIN].set;
    dataset->test = parts[IMAGE_TEST].set;
    dataset->val = parts[IMAGE_VAL].set;
    for (int part = 0; part < IMAGE_PARTS; part++)
        parts[part].set = (struct image_set){0};
    return RETORT_OK;
}

enum retort_status image_writer_finish(struct image_writer *writer, struct dataset *dataset)
{
    void *image;
    TRY(memory_zeroed(1, image_set_size(&writer->parts[IMAGE_TRAIN].set) + 1, &image));
    enum retort_status status = finish(writer, dataset, image);
    free(image);
    return status;
}
