/* json.h - JSON that comes from outside; adds to jansson what its readers here have in common. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/status.h"

/* Parse size bytes of text; the caller owns *json. Names given twice, embedded zeros, nesting
 * beyond jansson's limit and bytes behind the end are RETORT_FORMAT: "what is no JSON: ...". */
enum retort_status json_parse(const char *what, const char *text, size_t size, json_t **json);

/* RETORT_FORMAT unless json is an object whose values are texts without embedded zeros. */
enum retort_status json_check_texts(const char *what, const json_t *json);

#endif
