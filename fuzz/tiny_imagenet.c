/* tiny_imagenet.c - Tiny-ImageNet in a tar archive. */
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_open("tiny-imagenet", input_file(data, size), 8);
    return 0;
}
