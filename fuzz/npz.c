/* npz.c - one npz file, which stands for all eleven of downsampled ImageNet. */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A folder whose files are links to `path`. */
static const char *make_folder(const char *path)
{
    static char folder[] = "/tmp/retort-fuzz-XXXXXX";
    static char name[128];
    static int made;
    if (!made && !mkdtemp(folder))
        abort();
    made = 1;
    for (int i = 1; i <= 11; i++) {
        if (i < 11)
            snprintf(name, sizeof(name), "%s/train_data_batch_%d.npz", folder, i);
        else
            snprintf(name, sizeof(name), "%s/val_data.npz", folder);
        unlink(name);
        if (symlink(path, name))
            abort();
    }
    return folder;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_open("imagenet16", make_folder(input_file(data, size)), 0);
    return 0;
}
