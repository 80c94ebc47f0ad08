/* resize.h - the middle of an image, scaled. */
#ifndef DATA_RESIZE_H
#define DATA_RESIZE_H

#include <stdint.h>

#include "base/status.h"

/* Scale an image so that its shorter side is `size`, and cut the middle out. Bilinear; when it
 * shrinks, the triangle is as wide as a pixel of the result, so that nothing is passed over
 * (antialias). Of the longer side only what is needed is computed.
 *   src [in] (height, width, 3)
 *   dst [out] (3, size, size) */
enum retort_status resize_middle(const uint8_t *src, int width, int height, int size, uint8_t *dst);

#endif
