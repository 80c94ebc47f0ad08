/* pictures.h - exhibits.safetensors of a run for the page. */
#ifndef REPORT_PICTURES_H
#define REPORT_PICTURES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Add to the run what its file holds; nothing where there is none.
 *   samples  {channels, height, width, looked_at, helped, hurt, images: [{index, label, pixels
 *            (base64, channel by channel), said: {part: {class, probability}}}]}
 *   grams    [{pair, highest (of teacher-1), networks: {name: {rows, columns, shown: [rows,
 * columns], pixels (base64, 0 .. 255), mean, distance}}}] distance: Frobenius norm of the
 * difference to teacher-1 as a share of the teacher's norm, where shapes agree. RETORT_FORMAT: the
 * file is not what it should be. */
enum retort_status pictures_read(const char *folder, json_t *run);

/* For tests. */

/* The caller frees the text; NULL: memory is out. */
char *pictures_base64(const uint8_t *bytes, size_t count);

/* Means of blocks: dst (shown rows x shown columns) from src (rows x columns). A side of more than
 * `most` is divided into `most` blocks as equal as can be. */
void pictures_shrink(const float *src, int rows, int columns, int most, float *dst, int shown[2]);

#endif
