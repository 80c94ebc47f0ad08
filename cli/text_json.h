/* text_json.h - texts that need not be UTF-8, as JSON. */
#ifndef CLI_TEXT_JSON_H
#define CLI_TEXT_JSON_H

#include <jansson.h>

/* JSON holds UTF-8 only, names of files are any bytes: those of a text that is not UTF-8 become
 * \xNN. NULL: memory is out. */
json_t *text_json(const char *text);

#endif
