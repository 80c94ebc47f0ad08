/* safetensors.h - named tensors in one file.
 *
 * Format (huggingface/safetensors): 8 bytes little-endian header length, a JSON object
 * {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}}, then
 * the bytes. Any file whose header is too long, whose tensors overlap, leave holes, reach beyond
 * the end or whose shape does not give their size is refused. Knows no network. */
#ifndef BASE_SAFETENSORS_H
#define BASE_SAFETENSORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

enum safetensors_type {
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_F64,
    SAFETENSORS_I32,
    SAFETENSORS_I64,
    SAFETENSORS_U8,
    SAFETENSORS_TYPES
};

enum { SAFETENSORS_RANK = 8 };

struct safetensor {
    const char *name;
    enum safetensors_type type;
    int rank;
    int64_t dims[SAFETENSORS_RANK];
    const void *data; /* row-major; aligned to 16 bytes when read */
    size_t bytes;
};

struct safetensors {
    int count;
    struct safetensor *tensors; /* in the order of their bytes */
    json_t *metadata;           /* object of texts; empty when the file has none */
    struct arena arena;         /* owns names and tensors */
    unsigned char *bytes;       /* what lay behind the header */
};

/* Read and check a whole file (at most 8 GiB). Release with safetensors_release, which accepts a
 * zeroed struct. RETORT_FORMAT names the file and what is wrong. */
enum retort_status safetensors_read(const char *path, struct safetensors *file);
/* The same from bytes in memory, which are copied; name stands for the path in messages. */
enum retort_status safetensors_parse(const char *name, const void *data, size_t size,
                                     struct safetensors *file);
void safetensors_release(struct safetensors *file);

/* NULL when there is none of that name. */
const struct safetensor *safetensors_find(const struct safetensors *file, const char *name);
/* NULL when there is none. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* Write count tensors in the order given, whole or not at all (file.h). metadata is an object of
 * texts, or NULL; keys are written sorted, so that equal content gives equal bytes. Data begins at
 * a multiple of 8 bytes. A name given twice, or bytes that are not what the shape asks for, are
 * RETORT_INVALID. */
enum retort_status safetensors_write(const char *path, const struct safetensor *tensors, int count,
                                     const json_t *metadata);

/* The name of a type in files, e.g. "F32". */
const char *safetensors_type_name(enum safetensors_type type);

#endif
