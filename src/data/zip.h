/* zip.h - the entries of a zip archive, stored or deflated, as streams of bytes.
 *
 * Sentences do not name the archive. An entry's checksum is verified when it is read to its end. */
#ifndef DATA_ZIP_H
#define DATA_ZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct zip;

/* Close with zip_close. */
enum retort_status zip_open(const char *path, struct zip **zip);
void zip_close(struct zip *zip);

/* Go to the next entry: *name is borrowed until the next call, NULL after the last one. */
enum retort_status zip_next(struct zip *zip, const char **name);

/* Exactly `size` bytes of the entry at hand. */
enum retort_status zip_read(struct zip *zip, void *data, size_t size);

/* The entry must be over; verifies its checksum. */
enum retort_status zip_finish(struct zip *zip);

#endif
