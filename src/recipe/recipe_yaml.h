/* recipe_yaml.h - a recipe's text as a tree that knows its lines, and settings as YAML text.
 *
 * The only user of yaml.h. Values are read by libcyaml (recipe_schema.h), which keeps no lines and
 * cannot tell an empty list from none; this tree says both. Paths are written as for settings_set:
 * "distill.stages.0.epochs". */
#ifndef RECIPE_RECIPE_YAML_H
#define RECIPE_RECIPE_YAML_H

#include <jansson.h>

#include "base/file.h"
#include "base/settings.h"

struct recipe_yaml;

/* Parse the bytes of a file called name: exactly one document, a mapping whose keys are words;
 * no anchors, no aliases, no deep nesting. RETORT_FORMAT "name:line:column: ...". Both are borrowed
 * until recipe_yaml_close. */
enum retort_status recipe_yaml_open(const char *name, struct file_bytes bytes,
                                    struct recipe_yaml **yaml);
void recipe_yaml_close(struct recipe_yaml *yaml); /* accepts NULL */

/* Put "name:line: " before the recorded sentence, which begins with the path of a setting: where
 * that is said, or the deepest group around it. Returns status; out of memory stays as it is. */
enum retort_status recipe_yaml_locate(const struct recipe_yaml *yaml, enum retort_status status);

bool recipe_yaml_has(const struct recipe_yaml *yaml, const char *path);
/* What stands there, for messages: a value's own text, "a list", "a group of settings", "nothing".
 */
const char *recipe_yaml_found(const struct recipe_yaml *yaml, const char *path);

/* The text in which every single value of a setting that is a list stands in a list of its own:
 * "pairs: all" is "pairs: [all]". The caller frees *text. */
enum retort_status recipe_yaml_with_lists(const struct recipe_yaml *yaml,
                                          const struct setting_table *table, char **text);

/* Settings (settings_json) as YAML text. The caller frees *text. */
enum retort_status recipe_yaml_of_json(const json_t *object, char **text);

#endif
