/* json.c - JSON that comes from outside. */
#include "base/json.h"

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
