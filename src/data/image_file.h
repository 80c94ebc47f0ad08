/* image_file.h - JPEG and PNG files to RGB bytes of a wanted size. */
#ifndef DATA_IMAGE_FILE_H
#define DATA_IMAGE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Whether a file's name ends in .jpg, .jpeg or .png, in any case. */
bool image_file_is(const char *name);

/* Whether it ends like that of an image which is not decoded here: .webp, .gif, .bmp, ... */
bool image_file_is_foreign(const char *name);

/* Decode a file's bytes; which format it is, is seen from them, not from its name. Grey becomes
 * RGB; transparency shows black, mixed in the numbers that stand in the file; a PNG's 16 bits are
 * rounded to 8, and its gamma, where the file gives one, becomes sRGB's. The shorter side is scaled
 * to `size` (resize.h), the middle is cut out. pixels [out] (3, size, size) A file that is damaged
 * in any way, or has more than 64 million pixels, is RETORT_FORMAT; the sentence does not name it.
 * Thread-safe. */
enum retort_status image_file_decode(const unsigned char *data, size_t bytes, int size,
                                     uint8_t *pixels);

#endif
