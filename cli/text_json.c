/* text_json.c - names of files in JSON. */
#include "text_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *text_json(const char *text)
{
    json_t *plain = json_string(text);
    char *escaped = plain ? NULL : malloc(4 * strlen(text) + 1);
    if (!escaped)
        return plain;
    char *end = escaped;
    for (const char *byte = text; *byte; byte++)
        end += (unsigned char)*byte < 0x80 ? sprintf(end, "%c", *byte)
                                           : sprintf(end, "\\x%02x", (unsigned char)*byte);
    plain = json_string(escaped);
    free(escaped);
    return plain;
}
