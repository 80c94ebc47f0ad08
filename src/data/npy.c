/* npy.c - "\x93NUMPY", two bytes of version, the length of a Python dictionary, and that:
 *
 *     {'descr': '|u1', 'fortran_order': False, 'shape': (10, 12288), }
 *
 * Each of the three keys must be there once, in any order, and nothing else. */
#include "data/npy.h"

#include <ctype.h>
#include <string.h>

static const unsigned char magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

static bool is_long(const unsigned char *data)
{
    return data[6] >= 2; /* versions 2 and 3 have 4 bytes of length */
}

enum retort_status npy_measure(const unsigned char *data, size_t *header)
{
    if (memcmp(data, magic, sizeof(magic)) != 0)
        return fail(RETORT_FORMAT, "no array of numpy: its first bytes are not those wanted");
    if (data[6] < 1 || data[6] > 3 || data[7] != 0)
        return fail(RETORT_FORMAT, "version %d.%d of numpy's format found, 1.0 to 3.0 wanted",
                    data[6], data[7]);
    size_t length = data[8] | (size_t)data[9] << 8, prefix = 10;
    if (is_long(data)) {
        length |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
        prefix = 12;
    }
    if (length + prefix > NPY_LARGEST_HEADER || length + prefix < NPY_PREFIX)
        return fail(RETORT_FORMAT, "a header of %zu bytes found, %d to %d wanted", length + prefix,
                    NPY_PREFIX, NPY_LARGEST_HEADER);
    *header = length + prefix;
    return RETORT_OK;
}

/* A place in the dictionary's text. */
struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\n'))
        cursor->at++;
}

static bool take(struct cursor *cursor, const char *word)
{
    size_t length = strlen(word);
    skip_space(cursor);
    if ((size_t)(cursor->end - cursor->at) < length || memcmp(cursor->at, word, length) != 0)
        return false;
    cursor->at += length;
    return true;
}

/* A text between single quotes. */
static bool take_text(struct cursor *cursor, const char **text, size_t *length)
{
    if (!take(cursor, "'"))
        return false;
    const char *end = memchr(cursor->at, '\'', (size_t)(cursor->end - cursor->at));
    if (!end)
        return false;
    *text = cursor->at;
    *length = (size_t)(end - cursor->at);
    cursor->at = end + 1;
    return true;
}

static bool take_number(struct cursor *cursor, uint64_t *number)
{
    uint64_t value = 0;
    int digits = 0;
    skip_space(cursor);
    for (; cursor->at < cursor->end && isdigit((unsigned char)*cursor->at) && digits < 18; digits++)
        value = 10 * value + (uint64_t)(*cursor->at++ - '0');
    *number = value;
    return digits > 0;
}

static bool take_shape(struct cursor *cursor, struct npy *npy)
{
    if (!take(cursor, "("))
        return false;
    while (!take(cursor, ")")) {
        if (npy->rank == NPY_RANK || !take_number(cursor, &npy->shape[npy->rank]))
            return false;
        npy->rank++;
        if (!take(cursor, ",")) /* the last number of several needs none behind it */
            return npy->rank > 1 && take(cursor, ")");
    }
    return true;
}

static bool take_type(struct cursor *cursor, struct npy *npy)
{
    const char *text;
    size_t length;
    if (!take_text(cursor, &text, &length) || length != 3 || !strchr("<>|", text[0]) ||
        !strchr("uif", text[1]) || !strchr("1248", text[2]))
        return false;
    npy->big_endian = text[0] == '>';
    npy->kind = text[1];
    npy->bytes = text[2] - '0';
    return text[0] != '|' || npy->bytes == 1;
}

/* 'key': value; gives the bit of the key, 0 for anything else. */
static int take_pair(struct cursor *cursor, struct npy *npy)
{
    if (take(cursor, "'descr'"))
        return take(cursor, ":") && take_type(cursor, npy) ? 1 : 0;
    if (take(cursor, "'fortran_order'"))
        return take(cursor, ":") && take(cursor, "False") ? 2 : 0;
    if (take(cursor, "'shape'"))
        return take(cursor, ":") && take_shape(cursor, npy) ? 4 : 0;
    return 0;
}

enum retort_status npy_read(const unsigned char *data, size_t header, struct npy *npy)
{
    enum { ALL = 1 | 2 | 4 };
    size_t prefix = is_long(data) ? 12 : 10;
    struct cursor cursor = {(const char *)data + prefix, (const char *)data + header};
    struct npy made = {.header = header};
    int found = 0, key = 0;
    bool good = take(&cursor, "{");
    while (good && found != ALL) {
        key = take_pair(&cursor, &made);
        good = key && !(found & key) && (take(&cursor, ",") || (found | key) == ALL);
        found |= key;
    }
    good = good && take(&cursor, "}");
    skip_space(&cursor);
    if (!good || cursor.at != cursor.end)
        return fail(RETORT_FORMAT,
                    "header \"%.*s\" found, {'descr': TYPE, 'fortran_order': False, 'shape': "
                    "(...), } wanted",
                    (int)strnlen((const char *)data + prefix,
                                 header - prefix < 120 ? header - prefix : 120),
                    (const char *)data + prefix);
    *npy = made;
    return RETORT_OK;
}

int64_t npy_integer(const struct npy *npy, const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < npy->bytes; i++)
        value = value << 8 | bytes[npy->big_endian ? i : npy->bytes - 1 - i];
    if (npy->kind == 'u')
        return value > INT64_MAX ? -1 : (int64_t)value;
    unsigned shift = 64 - 8 * (unsigned)npy->bytes;
    return (int64_t)(value << shift) >> shift;
}
