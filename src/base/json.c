/* json.c - JSON that comes from outside. */
#include "base/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum retort_status json_parse(const char *what, const char *text, size_t size, json_t **json)
{
    json_error_t error = {0};
    json_t *found = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (found) {
        *json = found;
        return RETORT_OK;
    }
    /* Where jansson has no sentence, memory ran out. */
    if (!error.text[0] || json_error_code(&error) == json_error_out_of_memory)
        return fail(RETORT_MEMORY, "out of memory");
    return fail(RETORT_FORMAT, "%s is no JSON: %s (byte %d)", what, error.text, error.position);
}

enum retort_status json_check_texts(const char *what, const json_t *json)
{
    if (!json_is_object(json))
        return fail(RETORT_FORMAT, "%s is no object", what);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        const char *text = json_string_value(value);
        if (!text || strlen(text) != json_string_length(value))
            return fail(RETORT_FORMAT, "%s: the value of \"%.80s\" is no text", what, key);
    }
    return RETORT_OK;
}

char *json_text(const json_t *json, size_t flags)
{
    size_t size = json_dumpb(json, NULL, 0, flags);
    char *text = size > 0 ? malloc(size + 1) : NULL;
    if (text && json_dumpb(json, text, size, flags) == size) {
        text[size] = '\0';
        return text;
    }
    free(text);
    return NULL;
}

/* RFC 3629: a first byte says how many follow, which are 10xxxxxx, and how large the number is. */
bool json_takes(const char *text)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int more = *at < 0x80 ? 0 : *at < 0xc0 ? -1 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
        if (more < 0 || *at > 0xf4)
            return false;
        uint32_t number = more ? *at & (0x3fu >> more) : *at;
        at++;
        for (int i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80) /* the end of the text as well */
                return false;
            number = number << 6 | (*at & 0x3fu);
        }
        if (number < least[more] || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff))
            return false;
    }
    return true;
}
