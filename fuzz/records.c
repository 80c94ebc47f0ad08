/* records.c - the files of a set inside a good archive: damage gets past tar's own checksums.
 *
 * The first byte says which format. Then files follow: a name up to a line's end, two bytes of
 * length (little-endian), the content; the last one may be cut short. */
#include "input.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

/* One file; gives the bytes that it took. */
static size_t write_file(struct archive *tar, const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size < 200 ? size : 200);
    if (!end || end == data || size - (size_t)(end - data) < 3)
        return size;
    char name[201] = "";
    memcpy(name, data, (size_t)(end - data));
    size_t head = (size_t)(end - data) + 3, length = end[1] | (size_t)end[2] << 8;
    length = length > size - head ? size - head : length;
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)length);
    if (archive_write_header(tar, entry) == ARCHIVE_OK)
        archive_write_data(tar, data + head, length);
    archive_entry_free(entry);
    return head + length;
}

/* The archive is written into the file that input_file made. */
static void write_tar(const char *path, const uint8_t *data, size_t size)
{
    struct archive *tar = archive_write_new();
    archive_write_set_format_ustar(tar);
    if (archive_write_open_filename(tar, path) != ARCHIVE_OK)
        abort();
    while (size > 0) {
        size_t used = write_file(tar, data, size);
        data += used;
        size -= used;
    }
    archive_write_close(tar);
    archive_write_free(tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *format;
        int size;
    } rows[] = {{"mnist", 0}, {"cifar100", 0}, {"folder", 8}, {"tiny-imagenet", 8}};
    if (size < 1)
        return 0;
    const char *path = input_file(data, 0);
    write_tar(path, data + 1, size - 1);
    input_open(rows[data[0] % 4].format, path, rows[data[0] % 4].size);
    return 0;
}
