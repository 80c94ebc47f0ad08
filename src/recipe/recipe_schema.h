/* recipe_schema.h - a file's values into a struct, by the struct's setting table.
 *
 * The only user of cyaml.h: the table becomes a libcyaml schema, by which the text is parsed. */
#ifndef RECIPE_RECIPE_SCHEMA_H
#define RECIPE_RECIPE_SCHEMA_H

#include "base/settings.h"
#include "recipe/recipe_yaml.h"

/* Put what yaml gives on top of target, which holds the defaults. Unknown names, names given twice,
 * groups and lists out of place are RETORT_FORMAT, numbers and words that their row refuses
 * RETORT_INVALID; the sentence begins with the path of the setting. The words of lists are not
 * looked at: settings_check does. */
enum retort_status recipe_schema_read(const struct setting_table *table,
                                      const struct recipe_yaml *yaml, void *target,
                                      struct arena *arena);

#endif
