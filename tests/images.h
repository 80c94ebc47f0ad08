/* images.h - image files, archives and trees of them, made for tests. */
#ifndef TESTS_IMAGES_H
#define TESTS_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"

/* Encoded images; free(bytes.data). pixels: (height, width, channels); channels 1, 3, or 4: for PNG
 * red, green, blue and opacity, for JPEG inks as Adobe inverts them. */
struct file_bytes images_jpeg(const uint8_t *pixels, int width, int height, int channels,
                              bool progressive);
struct file_bytes images_png(const uint8_t *pixels, int width, int height, int channels);

/* The same of 16 bits a number, (height, width, 3), without a word about gamma. */
struct file_bytes images_png16(const uint16_t *pixels, int width, int height);

/* A PNG of one colour. */
struct file_bytes images_plain(int side, int red, int green, int blue);

/* Files by name: written below a folder, or into a tar or zip archive. */
struct images_file {
    const char *name;
    struct file_bytes bytes;
    const char *link; /* a symbolic link to this instead */
};
void images_write_folder(const char *path, const struct images_file *files, int count);
/* filter: ARCHIVE_FILTER_NONE, _GZIP, _XZ */
void images_write_tar(const char *path, int filter, const struct images_file *files, int count);
void images_write_zip(const char *path, bool stored, const struct images_file *files, int count);

/* An array as numpy writes it: type as in "|u1". */
struct file_bytes images_npy(const char *type, const char *shape, const void *data, size_t size);

#endif
