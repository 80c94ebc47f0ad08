/* folder.c - folders of images in a tar archive. */
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_open("folder", input_file(data, size), 8);
    return 0;
}
