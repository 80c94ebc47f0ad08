/* settings_json.c - settings to JSON and back.
 *
 * What comes back may be hostile (a downloaded model file): every type is looked at before it is
 * used, and recursion follows the program's own tables, never the depth of the input. */
#include "base/settings_place.h"

#include <limits.h>
#include <string.h>

/* ---- to JSON ---- */

static json_t *json_of_ints(const struct int_list *list)
{
    json_t *array = json_array();
    for (int i = 0; array && i < list->count; i++)
        if (json_array_append_new(array, json_integer(list->items[i]))) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

static json_t *json_of_texts(const struct text_list *list)
{
    json_t *array = json_array();
    for (int i = 0; array && i < list->count; i++)
        if (json_array_append_new(array, json_string(list->items[i]))) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

static json_t *json_of_groups(const struct setting *row, const struct group_list *list)
{
    json_t *array = json_array();
    for (int i = 0; array && i < list->count; i++) {
        const void *item = (const char *)list->items + (size_t)i * row->group->bytes;
        if (json_array_append_new(array, settings_json(row->group, item))) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *json_of_field(const struct setting *row, const void *field)
{
    switch (row->type) {
    case SETTING_INT:
        return json_integer(*(const int *)field);
    case SETTING_NUMBER:
        return json_real(*(const double *)field);
    case SETTING_FLAG:
        return json_boolean(*(const bool *)field);
    case SETTING_TEXT: {
        const char *text = *(const char *const *)field;
        return json_string(text ? text : "");
    }
    case SETTING_CHOICE:
        return json_string(row->choices[*(const int *)field]);
    case SETTING_INTS:
        return json_of_ints(field);
    case SETTING_TEXTS:
        return json_of_texts(field);
    case SETTING_GROUP:
        return settings_json(row->group, field);
    case SETTING_OPTION:
        return settings_json(row->group, *(void *const *)field);
    case SETTING_GROUPS:
        return json_of_groups(row, field);
    }
    return NULL;
}

json_t *settings_json(const struct setting_table *table, const void *target)
{
    json_t *object = json_object();
    for (int i = 0; object && i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        const void *field = field_view(row, target);
        if (row->type == SETTING_OPTION && !*(void *const *)field)
            continue;
        if (json_object_set_new(object, row->name, json_of_field(row, field))) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

/* ---- from JSON ---- */

static enum retort_status read_table(const struct setting_table *table, void *target,
                                     const json_t *object, struct arena *arena,
                                     const struct place *place);

static const char *kind_of(const json_t *value)
{
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array",     [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"};
    return kinds[json_typeof(value)];
}

static enum retort_status read_int(const struct setting *row, int *field, const json_t *value,
                                   const struct place *place)
{
    if (!json_is_integer(value))
        return refuse_value(place, row, kind_of(value));
    json_int_t number = json_integer_value(value);
    if (number < INT_MIN || number > INT_MAX)
        return refuse_value(place, row, "a larger one");
    *field = (int)number;
    return RETORT_OK;
}

static enum retort_status read_text(const struct setting *row, const char **field,
                                    const json_t *value, struct arena *arena,
                                    const struct place *place)
{
    if (!json_is_string(value))
        return refuse_value(place, row, kind_of(value));
    const char *text = json_string_value(value);
    if (strlen(text) != json_string_length(value))
        return refuse_value(place, row, "a string with a zero byte inside");
    *field = arena_text(arena, text);
    return *field ? RETORT_OK : fail(RETORT_MEMORY, "out of memory: a text was to be read");
}

static enum retort_status read_choice(const struct setting *row, int *field, const json_t *value,
                                      const struct place *place)
{
    if (!json_is_string(value))
        return refuse_value(place, row, kind_of(value));
    for (int i = 0; row->choices[i]; i++)
        if (strcmp(row->choices[i], json_string_value(value)) == 0) {
            *field = i;
            return RETORT_OK;
        }
    return refuse_value(place, row, json_string_value(value));
}

/* Room for the items of a JSON array. */
static enum retort_status take_items(const struct setting *row, const json_t *value,
                                     size_t item_bytes, struct arena *arena,
                                     const struct place *place, int *count, void **items)
{
    if (!json_is_array(value))
        return refuse_value(place, row, kind_of(value));
    size_t wanted = json_array_size(value);
    if (wanted > INT_MAX / item_bytes)
        return refuse_value(place, row, "a longer list");
    TRY(arena_take(arena, wanted * item_bytes, items));
    *count = (int)wanted;
    return RETORT_OK;
}

static enum retort_status read_ints(const struct setting *row, struct int_list *list,
                                    const json_t *value, struct arena *arena,
                                    const struct place *place)
{
    void *items;
    TRY(take_items(row, value, sizeof(int), arena, place, &list->count, &items));
    list->items = items;
    struct setting item = settings_item(row);
    for (int i = 0; i < list->count; i++) {
        struct place at = place_item(place, i);
        TRY(read_int(&item, &list->items[i], json_array_get(value, (size_t)i), &at));
    }
    return RETORT_OK;
}

static enum retort_status read_texts(const struct setting *row, struct text_list *list,
                                     const json_t *value, struct arena *arena,
                                     const struct place *place)
{
    void *items;
    TRY(take_items(row, value, sizeof(char *), arena, place, &list->count, &items));
    list->items = items;
    struct setting item = settings_item(row);
    for (int i = 0; i < list->count; i++) {
        struct place at = place_item(place, i);
        TRY(read_text(&item, &list->items[i], json_array_get(value, (size_t)i), arena, &at));
    }
    return RETORT_OK;
}

static enum retort_status read_option(const struct setting *row, void **field, const json_t *value,
                                      struct arena *arena, const struct place *place)
{
    void *option = NULL;
    if (!json_is_null(value)) {
        TRY(arena_take(arena, row->group->bytes, &option));
        TRY(settings_defaults(row->group, option, arena));
        TRY(read_table(row->group, option, value, arena, place));
    }
    *field = option;
    return RETORT_OK;
}

static enum retort_status read_groups(const struct setting *row, struct group_list *list,
                                      const json_t *value, struct arena *arena,
                                      const struct place *place)
{
    size_t bytes = row->group->bytes;
    TRY(take_items(row, value, bytes, arena, place, &list->count, &list->items));
    for (int i = 0; i < list->count; i++) {
        struct place at = place_item(place, i);
        void *item = (char *)list->items + (size_t)i * bytes;
        TRY(settings_defaults(row->group, item, arena));
        TRY(read_table(row->group, item, json_array_get(value, (size_t)i), arena, &at));
    }
    return RETORT_OK;
}

/* The value in the row's type, its range not yet looked at. */
static enum retort_status read_field(const struct setting *row, void *field, const json_t *value,
                                     struct arena *arena, const struct place *place)
{
    switch (row->type) {
    case SETTING_INT:
        return read_int(row, field, value, place);
    case SETTING_NUMBER:
        if (!json_is_number(value))
            return refuse_value(place, row, kind_of(value));
        *(double *)field = json_number_value(value);
        return RETORT_OK;
    case SETTING_FLAG:
        if (!json_is_boolean(value))
            return refuse_value(place, row, kind_of(value));
        *(bool *)field = json_is_true(value);
        return RETORT_OK;
    case SETTING_TEXT:
        return read_text(row, field, value, arena, place);
    case SETTING_CHOICE:
        return read_choice(row, field, value, place);
    case SETTING_INTS:
        return read_ints(row, field, value, arena, place);
    case SETTING_TEXTS:
        return read_texts(row, field, value, arena, place);
    case SETTING_GROUP:
        return read_table(row->group, field, value, arena, place);
    case SETTING_OPTION:
        return read_option(row, field, value, arena, place);
    case SETTING_GROUPS:
        return read_groups(row, field, value, arena, place);
    }
    return RETORT_OK;
}

/* target holds the defaults. A group that is absent is read as an empty one, so that what must be
 * given inside it is missed. */
static enum retort_status read_table(const struct setting_table *table, void *target,
                                     const json_t *object, struct arena *arena,
                                     const struct place *place)
{
    if (object && !json_is_object(object))
        return refuse(place, "%s found, an object with the settings of %s wanted", kind_of(object),
                      table->name);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const struct setting *row = settings_find(table, key);
        if (!row)
            return refuse_name(place, table, key);
        struct place at = place_name(place, row->name);
        TRY(read_field(row, field_of(row, target), value, arena, &at));
        TRY(check_field(row, field_of(row, target), &at));
    }
    for (int i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        struct place at = place_name(place, row->name);
        if (object && json_object_get(object, row->name))
            continue;
        if (row->type == SETTING_GROUP)
            TRY(read_table(row->group, field_of(row, target), NULL, arena, &at));
        else if (row->type < SETTING_GROUP && !row->fallback)
            return refuse_value(&at, row, "");
    }
    return RETORT_OK;
}

enum retort_status settings_from_json(const struct setting_table *table, void *target,
                                      const char *where, const json_t *object, struct arena *arena)
{
    struct place root = place_root(where, ": ", RETORT_FORMAT);
    void *made;
    TRY(arena_take(arena, table->bytes, &made));
    TRY(settings_defaults(table, made, arena));
    if (!object)
        return refuse(&root, "nothing found, an object with the settings of %s wanted",
                      table->name);
    TRY(read_table(table, made, object, arena, &root));
    memcpy(target, made, table->bytes);
    return RETORT_OK;
}
