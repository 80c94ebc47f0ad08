/* image.c - JPEG and PNG files. */
#include "input.h"

#include "data/image_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t pixels[3 * 16 * 16];
    image_file_decode(data, size, 16, pixels);
    return 0;
}
