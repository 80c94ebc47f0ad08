/* json.h - JSON that comes from outside; adds to jansson what its readers here have in common. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Parse size bytes of text; the caller owns *json. Names given twice, embedded zeros, nesting
 * beyond jansson's limit and bytes behind the end are RETORT_FORMAT: "what is no JSON: ...". */
enum retort_status json_parse(const char *what, const char *text, size_t size, json_t **json);

/* RETORT_FORMAT unless json is an object whose values are texts without embedded zeros. */
enum retort_status json_check_texts(const char *what, const json_t *json);

/* As json_dumps, which may leave bytes out without a word where memory runs out (jansson 2.14).
 * NULL: memory is out. */
char *json_text(const json_t *json, size_t flags);

/* Whether jansson takes a text: UTF-8, without surrogates and needless bytes. */
bool json_takes(const char *text);

#endif
