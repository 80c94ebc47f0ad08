/* idx.c - MNIST in a tar archive. */
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_open("mnist", input_file(data, size), 0);
    return 0;
}
