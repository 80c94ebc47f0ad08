/* npy.c - headers of numpy's arrays. */
#include "input.h"

#include <stdlib.h>
#include <string.h>

#include "data/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npy npy;
    size_t header;
    if (size < NPY_PREFIX || npy_measure(data, &header) != RETORT_OK || header > size)
        return 0;
    uint8_t *exact = malloc(header); /* reading on is found */
    memcpy(exact, data, header);
    if (npy_read(exact, header, &npy) == RETORT_OK && npy.rank > NPY_RANK)
        abort();
    free(exact);
    return 0;
}
