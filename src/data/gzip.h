/* gzip.h - what a gzip file holds, piece by piece; the only user of zlib.
 *
 * A file may have several members one behind the other (RFC 1952, section 2.2), as parallel
 * compressors and `cat` make them; each one's checksum and size are verified. Zero bytes behind the
 * last one, as tapes have them, are passed over; anything else there is an error. */
#ifndef DATA_GZIP_H
#define DATA_GZIP_H

#include <stddef.h>

#include "base/status.h"

struct gzip;

/* descriptor: of a file at its beginning, borrowed. Close with gzip_close. Sentences do not name
 * the file. */
enum retort_status gzip_open(int descriptor, struct gzip **gzip);
/* Accepts NULL. */
void gzip_close(struct gzip *gzip);

/* The next bytes, borrowed until the next call; *size is 0 at the end. */
enum retort_status gzip_read(struct gzip *gzip, const void **data, size_t *size);

#endif
