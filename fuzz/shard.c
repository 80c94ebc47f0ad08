/* shard.c - the description of a shard, beside files of fixed sizes. */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"

static char folder[] = "/tmp/retort-fuzz-XXXXXX";

static void put(const char *name, const void *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *stream = fopen(path, "wb");
    if (!stream || fwrite(data, 1, size, stream) != size || fclose(stream))
        abort();
}

/* Two training images, one test image and one validation image of 1x2x2, of classes 0, 1, 0 and 0.
 */
static void make_folder(void)
{
    static const uint8_t zeros[8], labels[8] = {0, 0, 0, 0, 1, 0, 0, 0};
    uint64_t sum = hash_bytes(HASH_START, zeros, 4), sums[2] = {sum, sum};
    if (!mkdtemp(folder))
        abort();
    put("train.pixels", zeros, 8);
    put("test.pixels", zeros, 4);
    put("train.labels", labels, 8);
    put("test.labels", labels, 4);
    put("train.sums", sums, 16);
    put("test.sums", sums, 8);
    put("val.pixels", zeros, 4);
    put("val.labels", labels, 4);
    put("val.sums", sums, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int made;
    if (!made)
        make_folder();
    made = 1;
    put("shard.json", data, size);
    input_open("shard", folder, 0);
    return 0;
}
