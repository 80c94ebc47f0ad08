/* input.c - what the fuzz targets share. */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/dataset.h"
#include "data/image_set.h"

const char *input_file(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    if (file >= 0)
        close(file);
    file = memfd_create("input", MFD_CLOEXEC);
    if (file < 0 || write(file, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    return path;
}

/* What a reader promises about a set that it has opened. */
static void look_at(const struct image_set *set, int classes)
{
    volatile unsigned sum = 0;
    for (int i = 0; i < set->count; i++) {
        const uint8_t *pixels = set->pixels ? image_set_view(set, (size_t)i) : NULL;
        if (set->labels[i] < 0 || set->labels[i] >= classes)
            abort();
        for (size_t k = 0; pixels && k < image_set_size(set); k++)
            sum += pixels[k];
    }
}

void input_open(const char *format, const char *path, int size)
{
    char specification[512];
    snprintf(specification, sizeof(specification), "%s:%s", format, path);
    for (int round = 0; round < 3; round++) {
        const bool skip = round > 0;
        const struct dataset_options options = {
            .size = size, .skip_bad = skip, .looks = round == 2};
        struct dataset dataset;
        if (dataset_open(specification, &options, &dataset) != RETORT_OK)
            continue;
        if (dataset.train.count < 1 || dataset.test.count < 1 || (dataset.skipped.count && !skip))
            abort();
        look_at(&dataset.train, dataset.classes);
        look_at(&dataset.test, dataset.classes);
        look_at(&dataset.val, dataset.classes);
        dataset_release(&dataset);
    }
}
