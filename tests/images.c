/* images.c - image files, archives and trees of them, made for tests. */
#include "images.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <jpeglib.h>
#include <png.h>

struct file_bytes images_jpeg(const uint8_t *pixels, int width, int height, int channels,
                              bool progressive)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &data, &size);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = channels;
    jpeg.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    if (progressive)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(pixels + (size_t)y * (size_t)(width * channels));
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return (struct file_bytes){data, size};
}

struct file_bytes images_png(const uint8_t *pixels, int width, int height, int channels)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = channels == 1   ? PNG_FORMAT_GRAY
                               : channels == 3 ? PNG_FORMAT_RGB
                                               : PNG_FORMAT_RGBA};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    unsigned char *data = malloc(size);
    assert_non_null(data);
    assert_true(png_image_write_to_memory(&png, data, &size, 0, pixels, 0, NULL));
    return (struct file_bytes){data, size};
}

static void append(png_structp png, png_bytep data, size_t size)
{
    struct file_bytes *bytes = png_get_io_ptr(png);
    bytes->data = realloc(bytes->data, bytes->size + size);
    assert_non_null(bytes->data);
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

struct file_bytes images_png16(const uint16_t *pixels, int width, int height)
{
    struct file_bytes bytes = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &bytes, append, NULL);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 16, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    png_set_swap(png); /* the machine's order is little-endian */
    for (int y = 0; y < height; y++)
        png_write_row(png, (png_const_bytep)(pixels + (size_t)y * (size_t)width * 3));
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return bytes;
}

struct file_bytes images_plain(int side, int red, int green, int blue)
{
    uint8_t *pixels = malloc((size_t)(side * side * 3));
    assert_non_null(pixels);
    for (int i = 0; i < side * side; i++) {
        pixels[3 * i] = (uint8_t)red;
        pixels[3 * i + 1] = (uint8_t)green;
        pixels[3 * i + 2] = (uint8_t)blue;
    }
    struct file_bytes bytes = images_png(pixels, side, side, 3);
    free(pixels);
    return bytes;
}

void images_write_folder(const char *path, const struct images_file *files, int count)
{
    assert_ok(file_make_folder(path));
    for (int i = 0; i < count; i++) {
        char *name = file_join(path, files[i].name), *slash = strrchr(name, '/');
        *slash = '\0';
        assert_ok(file_make_folder(name));
        *slash = '/';
        if (files[i].link)
            assert_int_equal(symlink(files[i].link, name), 0);
        else
            assert_ok(file_write(name, files[i].bytes.data, files[i].bytes.size));
        free(name);
    }
}

static void write_archive(struct archive *archive, const char *path,
                          const struct images_file *files, int count)
{
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    for (int i = 0; i < count; i++) {
        struct archive_entry *entry = archive_entry_new();
        archive_entry_set_pathname(entry, files[i].name);
        archive_entry_set_perm(entry, 0644);
        archive_entry_set_filetype(entry, files[i].link ? AE_IFLNK : AE_IFREG);
        if (files[i].link)
            archive_entry_set_symlink(entry, files[i].link);
        else
            archive_entry_set_size(entry, (la_int64_t)files[i].bytes.size);
        assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
        if (!files[i].link)
            assert_int_equal(archive_write_data(archive, files[i].bytes.data, files[i].bytes.size),
                             files[i].bytes.size);
        archive_entry_free(entry);
    }
    assert_int_equal(archive_write_close(archive), ARCHIVE_OK);
    archive_write_free(archive);
}

void images_write_tar(const char *path, int filter, const struct images_file *files, int count)
{
    struct archive *archive = archive_write_new();
    archive_write_add_filter(archive, filter);
    archive_write_set_format_pax_restricted(archive);
    write_archive(archive, path, files, count);
}

void images_write_zip(const char *path, bool stored, const struct images_file *files, int count)
{
    struct archive *archive = archive_write_new();
    archive_write_set_format_zip(archive);
    if (stored)
        archive_write_zip_set_compression_store(archive);
    else
        archive_write_zip_set_compression_deflate(archive);
    write_archive(archive, path, files, count);
}

struct file_bytes images_npy(const char *type, const char *shape, const void *data, size_t size)
{
    enum { HEADER = 128 };
    unsigned char *bytes = malloc(HEADER + size);
    assert_non_null(bytes);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = HEADER - 10;
    bytes[9] = 0;
    int used = snprintf((char *)bytes + 10, HEADER - 10,
                        "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    memset(bytes + 10 + used, ' ', (size_t)(HEADER - 10 - used));
    bytes[HEADER - 1] = '\n';
    if (size > 0)
        memcpy(bytes + HEADER, data, size);
    return (struct file_bytes){bytes, HEADER + size};
}
