/* safetensors.c - read with suspicion, write deterministically.
 *
 * A file is believed only when its tensors, in the order of their bytes, cover the bytes behind the
 * header exactly once: then no offset can point outside and nothing can hide between tensors. So
 * every check is made before a tensor is handed out, and a struct safetensors is either whole or
 * not there.
 * Offsets in a file need not be aligned. The bytes are moved to the front of their buffer, which
 * aligns every tensor whose offset is a multiple of 16; the others are copied. */
#include "base/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's numbers are little-endian");

enum { LENGTH_BYTES = 8, DATA_ALIGNMENT = 16, WRITE_ALIGNMENT = 8, HEADER_LIMIT = 100000000 };

static const char metadata_key[] = "__metadata__";

static const struct {
    const char *name;
    size_t size;
} types[SAFETENSORS_TYPES] = {
    [SAFETENSORS_F32] = {"F32", 4},   [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2}, [SAFETENSORS_F64] = {"F64", 8},
    [SAFETENSORS_I32] = {"I32", 4},   [SAFETENSORS_I64] = {"I64", 8},
    [SAFETENSORS_U8] = {"U8", 1},
};

const char *safetensors_type_name(enum safetensors_type type)
{
    return types[type].name;
}

/* Bytes that type and shape ask for. */
static enum retort_status wanted_bytes(const struct safetensor *tensor, size_t *bytes)
{
    size_t product = types[tensor->type].size;
    for (int i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] < 0)
            return fail(RETORT_FORMAT, "shape[%d] is %lld, 0 or more was wanted", i,
                        (long long)tensor->dims[i]);
        if (__builtin_mul_overflow(product, (size_t)tensor->dims[i], &product))
            return fail(RETORT_FORMAT, "its shape asks for more than 2^64 bytes");
    }
    *bytes = product;
    return RETORT_OK;
}

/* ---- reading ---- */

/* A tensor of the file and where its bytes lie behind the header. */
struct place {
    struct safetensor tensor;
    size_t begin, end;
};

static enum retort_status parse_type(const json_t *json, enum safetensors_type *type)
{
    const char *text = json_string_value(json);
    if (!text)
        return fail(RETORT_FORMAT, "its dtype is no text");
    for (int i = 0; i < SAFETENSORS_TYPES; i++)
        if (!strcmp(text, types[i].name)) {
            *type = (enum safetensors_type)i;
            return RETORT_OK;
        }
    return fail(RETORT_FORMAT,
                "dtype \"%.40s\" found, F32, F16, BF16, F64, I32, I64 or U8 was wanted", text);
}

static enum retort_status parse_shape(const json_t *json, struct safetensor *tensor)
{
    if (!json_is_array(json))
        return fail(RETORT_FORMAT, "its shape is no list");
    size_t rank = json_array_size(json);
    if (rank > SAFETENSORS_RANK)
        return fail(RETORT_FORMAT, "%zu dimensions found, at most %d are supported", rank,
                    SAFETENSORS_RANK);
    tensor->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(json, i);
        if (!json_is_integer(dim))
            return fail(RETORT_FORMAT, "shape[%zu] is no whole number", i);
        tensor->dims[i] = json_integer_value(dim);
    }
    return RETORT_OK;
}

static enum retort_status parse_offsets(const json_t *json, size_t size, struct place *place)
{
    const json_t *first = json_array_get(json, 0), *last = json_array_get(json, 1);
    if (json_array_size(json) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return fail(RETORT_FORMAT, "data_offsets are not two whole numbers");
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin || (size_t)end > size)
        return fail(RETORT_FORMAT,
                    "data_offsets [%lld, %lld] found, an ascending pair from 0 to %zu was wanted",
                    (long long)begin, (long long)end, size);
    place->begin = (size_t)begin;
    place->end = (size_t)end;
    return RETORT_OK;
}

/* One entry of the header; size: the bytes behind it. */
static enum retort_status parse_entry(const json_t *json, size_t size, struct place *place)
{
    const json_t *type = json_object_get(json, "dtype"), *shape = json_object_get(json, "shape"),
                 *offsets = json_object_get(json, "data_offsets");
    if (!type || !shape || !offsets || json_object_size(json) != 3)
        return fail(RETORT_FORMAT, "an object of dtype, shape and data_offsets was wanted");
    size_t wanted;
    TRY(parse_type(type, &place->tensor.type));
    TRY(parse_shape(shape, &place->tensor));
    TRY(wanted_bytes(&place->tensor, &wanted));
    TRY(parse_offsets(offsets, size, place));
    place->tensor.bytes = place->end - place->begin;
    if (place->tensor.bytes != wanted)
        return fail(RETORT_FORMAT, "data_offsets give %zu bytes, dtype and shape ask for %zu",
                    place->tensor.bytes, wanted);
    return RETORT_OK;
}

/* By offset; empty tensors come before what begins where they lie. */
static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return strcmp(a->tensor.name, b->tensor.name);
}

/* size: the bytes behind the header, all of which must belong to one tensor. */
static enum retort_status check_cover(const struct place *places, int count, size_t size)
{
    size_t covered = 0;
    for (int i = 0; i < count; i++) {
        if (places[i].begin != covered)
            return fail(RETORT_FORMAT, "tensor \"%.80s\" begins at byte %zu of the data, %s %zu",
                        places[i].tensor.name, places[i].begin,
                        places[i].begin > covered ? "after a hole from" : "inside one that ends at",
                        covered);
        covered = places[i].end;
    }
    if (covered != size)
        return fail(RETORT_FORMAT, "%zu bytes behind the header, its tensors cover %zu", size,
                    covered);
    return RETORT_OK;
}

/* Every entry of the header but the metadata, in the order of their bytes. */
static enum retort_status parse_places(const json_t *header, size_t size, struct arena *arena,
                                       struct place *places)
{
    const char *name;
    json_t *entry;
    int count = 0;
    json_object_foreach((json_t *)header, name, entry)
    {
        if (!strcmp(name, metadata_key))
            continue;
        struct place *place = &places[count++];
        enum retort_status status = parse_entry(entry, size, place);
        if (status != RETORT_OK)
            return fail_in(status, "tensor \"%.80s\"", name);
        place->tensor.name = arena_text(arena, name);
        if (!place->tensor.name)
            return fail(RETORT_MEMORY, "out of memory");
    }
    qsort(places, (size_t)count, sizeof(*places), compare_places);
    return check_cover(places, count, size);
}

/* Give each tensor aligned bytes, in place where possible. */
static enum retort_status place_data(const struct place *places, struct safetensors *file)
{
    void *tensors;
    TRY(arena_take(&file->arena, (size_t)file->count * sizeof(*file->tensors), &tensors));
    file->tensors = tensors;
    for (int i = 0; i < file->count; i++) {
        struct safetensor *tensor = &file->tensors[i];
        *tensor = places[i].tensor;
        tensor->data = file->bytes + places[i].begin;
        if (places[i].begin % DATA_ALIGNMENT) {
            void *copy;
            TRY(arena_take(&file->arena, tensor->bytes, &copy));
            memcpy(copy, tensor->data, tensor->bytes);
            tensor->data = copy;
        }
    }
    return RETORT_OK;
}

/* size: the bytes behind the header. */
static enum retort_status parse_header(const json_t *header, size_t size, struct safetensors *file)
{
    json_t *metadata = json_object_get(header, metadata_key);
    file->metadata = metadata ? json_incref(metadata) : json_object();
    if (!file->metadata)
        return fail(RETORT_MEMORY, "out of memory");
    TRY(json_check_texts(metadata_key, file->metadata));
    file->count = (int)json_object_size(header) - (metadata != NULL);
    void *places;
    TRY(memory_zeroed((size_t)file->count, sizeof(struct place), &places));
    enum retort_status status = parse_places(header, size, &file->arena, places);
    if (status == RETORT_OK)
        status = place_data(places, file);
    free(places);
    return status;
}

/* The header's length, checked against the file's size. */
static enum retort_status header_length(const struct file_bytes *bytes, size_t *length)
{
    uint64_t found;
    if (bytes->size < LENGTH_BYTES)
        return fail(RETORT_FORMAT, "%zu bytes found, the header's length alone takes %d",
                    bytes->size, LENGTH_BYTES);
    memcpy(&found, bytes->data, LENGTH_BYTES);
    if (found > HEADER_LIMIT)
        return fail(RETORT_FORMAT, "a header of %llu bytes is announced, at most %d are allowed",
                    (unsigned long long)found, HEADER_LIMIT);
    if (found > bytes->size - LENGTH_BYTES)
        return fail(RETORT_FORMAT, "a header of %llu bytes is announced, %zu follow",
                    (unsigned long long)found, bytes->size - LENGTH_BYTES);
    if (!found || bytes->data[LENGTH_BYTES] != '{')
        return fail(RETORT_FORMAT, "its header does not begin with '{'");
    *length = (size_t)found;
    return RETORT_OK;
}

static enum retort_status parse_bytes(const struct file_bytes *bytes, struct safetensors *file)
{
    size_t length;
    TRY(header_length(bytes, &length));
    json_t *header;
    TRY(json_parse("its header", (char *)bytes->data + LENGTH_BYTES, length, &header));
    size_t size = bytes->size - LENGTH_BYTES - length;
    memmove(bytes->data, bytes->data + LENGTH_BYTES + length, size);
    enum retort_status status = parse_header(header, size, file);
    json_decref(header);
    return status;
}

/* Takes the bytes over. */
static enum retort_status take_bytes(const char *name, const struct file_bytes *bytes,
                                     struct safetensors *file)
{
    struct safetensors made = {.bytes = bytes->data};
    enum retort_status status = parse_bytes(bytes, &made);
    if (status != RETORT_OK) {
        safetensors_release(&made);
        return fail_in(status, "%s", name);
    }
    *file = made;
    return RETORT_OK;
}

enum retort_status safetensors_read(const char *path, struct safetensors *file)
{
    struct file_bytes bytes;
    TRY(file_read(path, (size_t)8 << 30, &bytes));
    return take_bytes(path, &bytes, file);
}

enum retort_status safetensors_parse(const char *name, const void *data, size_t size,
                                     struct safetensors *file)
{
    struct file_bytes bytes = {malloc(size ? size : 1), size};
    if (!bytes.data)
        return fail(RETORT_MEMORY, "%s: out of memory: %zu bytes were wanted", name, size);
    memcpy(bytes.data, data, size);
    return take_bytes(name, &bytes, file);
}

void safetensors_release(struct safetensors *file)
{
    if (!file)
        return;
    json_decref(file->metadata);
    arena_release(&file->arena);
    free(file->bytes);
    *file = (struct safetensors){0};
}

const struct safetensor *safetensors_find(const struct safetensors *file, const char *name)
{
    for (int i = 0; i < file->count; i++)
        if (!strcmp(file->tensors[i].name, name))
            return &file->tensors[i];
    return NULL;
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    return json_string_value(json_object_get(file->metadata, key));
}

/* ---- writing ---- */

/* {"dtype", "shape", "data_offsets"}; NULL when memory is out. */
static json_t *entry_json(const struct safetensor *tensor, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < tensor->rank; i++)
        if (json_array_append_new(shape, json_integer(tensor->dims[i]))) {
            json_decref(shape);
            shape = NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", types[tensor->type].name, "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor->bytes));
}

static enum retort_status check_tensor(const struct safetensor *tensor)
{
    size_t wanted;
    if (tensor->rank < 0 || tensor->rank > SAFETENSORS_RANK)
        return fail(RETORT_INVALID, "%d dimensions given, at most %d are supported", tensor->rank,
                    SAFETENSORS_RANK);
    if (wanted_bytes(tensor, &wanted) != RETORT_OK)
        return RETORT_INVALID;
    if (tensor->bytes != wanted)
        return fail(RETORT_INVALID, "%zu bytes given, dtype and shape ask for %zu", tensor->bytes,
                    wanted);
    return RETORT_OK;
}

static enum retort_status add_entries(json_t *header, const struct safetensor *tensors, int count)
{
    size_t begin = 0;
    for (int i = 0; i < count; i++) {
        enum retort_status status = check_tensor(&tensors[i]);
        if (status != RETORT_OK)
            return fail_in(status, "tensor \"%.80s\"", tensors[i].name);
        if (!strcmp(tensors[i].name, metadata_key) || json_object_get(header, tensors[i].name))
            return fail(RETORT_INVALID, "tensor \"%.80s\": the name is taken", tensors[i].name);
        if (json_object_set_new(header, tensors[i].name, entry_json(&tensors[i], begin)))
            return fail(RETORT_MEMORY, "out of memory, or a name that is no UTF-8");
        begin += tensors[i].bytes;
    }
    return RETORT_OK;
}

static enum retort_status add_metadata(json_t *header, const json_t *metadata)
{
    if (!metadata || !json_object_size(metadata))
        return RETORT_OK;
    if (json_check_texts(metadata_key, metadata) != RETORT_OK)
        return RETORT_INVALID;
    if (json_object_set(header, metadata_key, (json_t *)metadata))
        return fail(RETORT_MEMORY, "out of memory");
    return RETORT_OK;
}

/* text [out] the header as JSON, released with free(). */
static enum retort_status make_header(const struct safetensor *tensors, int count,
                                      const json_t *metadata, char **text)
{
    char *made = NULL;
    enum retort_status status;
    json_t *header = json_object();
    if (!header)
        return fail(RETORT_MEMORY, "out of memory");
    TRY_DONE(add_entries(header, tensors, count));
    TRY_DONE(add_metadata(header, metadata));
    made = json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
    if (!made)
        TRY_DONE(fail(RETORT_MEMORY, "out of memory"));
    if (strlen(made) > HEADER_LIMIT - WRITE_ALIGNMENT)
        TRY_DONE(fail(RETORT_INVALID, "a header of %zu bytes, at most %d are allowed", strlen(made),
                      HEADER_LIMIT - WRITE_ALIGNMENT));
    *text = made;
    made = NULL;
done:
    free(made);
    json_decref(header);
    return status;
}

enum retort_status safetensors_write(const char *path, const struct safetensor *tensors, int count,
                                     const json_t *metadata)
{
    char *header;
    enum retort_status status = make_header(tensors, count, metadata, &header);
    if (status != RETORT_OK)
        return fail_in(status, "%s", path);
    struct file_writer writer;
    status = file_begin(path, &writer);
    if (status == RETORT_OK) {
        uint64_t length =
            (strlen(header) + WRITE_ALIGNMENT - 1) / WRITE_ALIGNMENT * WRITE_ALIGNMENT;
        fwrite(&length, 1, LENGTH_BYTES, writer.stream);
        fprintf(writer.stream, "%-*s", (int)length, header);
        for (int i = 0; i < count; i++)
            fwrite(tensors[i].data, 1, tensors[i].bytes, writer.stream);
        status = file_commit(&writer);
    }
    free(header);
    return status;
}
