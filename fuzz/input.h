/* input.h - what the fuzz targets share: bytes as a file, a file as a data set. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file in memory that holds the bytes; its path, borrowed until the next call. */
const char *input_file(const uint8_t *data, size_t size);

/* Open path as a data set, also with images of 8x8 where that can be asked for, with and without
 * leaving out bad records, and look at every pixel and label. */
void input_open(const char *format, const char *path, int size);

#endif
