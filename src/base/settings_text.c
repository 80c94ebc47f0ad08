/* settings_text.c - values from text: defaults, one setting by its path, lists of key=value.
 *
 * A field is written only after its new value has been read whole and checked. */
#include "base/settings_place.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static enum retort_status set_path(const struct setting_table *table, void *target,
                                   const char *path, const char *text, struct arena *arena,
                                   const struct place *place);

/* ---- one value ---- */

/* strtol and strtod allow leading space, hexadecimal, "nan" and "inf": none of them is wanted. */
static bool looks_decimal(const char *text)
{
    return text[0] && strspn(text, "+-.0123456789eE") == strlen(text);
}

static bool read_int(const char *text, int *value)
{
    char *end;
    errno = 0;
    long number = looks_decimal(text) ? strtol(text, &end, 10) : 0;
    if (!looks_decimal(text) || errno || *end || number < INT_MIN || number > INT_MAX)
        return false;
    *value = (int)number;
    return true;
}

static bool read_number(const char *text, double *value)
{
    if (!looks_decimal(text))
        return false;
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end)
        return false;
    *value = number; /* an overflow is infinite: check_field refuses it */
    return true;
}

static bool read_flag(const char *text, bool *value)
{
    static const char *const words[][2] = {
        {"false", "true"}, {"off", "on"}, {"no", "yes"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        for (int truth = 0; truth < 2; truth++)
            if (strcmp(text, words[i][truth]) == 0) {
                *value = truth;
                return true;
            }
    return false;
}

static bool read_choice(const struct setting *row, const char *text, int *value)
{
    for (int i = 0; row->choices[i]; i++)
        if (strcmp(text, row->choices[i]) == 0) {
            *value = i;
            return true;
        }
    return false;
}

/* ---- lists ---- */

struct piece {
    const char *text;
    size_t bytes;
};

static struct piece trimmed(struct piece piece)
{
    while (piece.bytes && isspace((unsigned char)piece.text[0])) {
        piece.text++;
        piece.bytes--;
    }
    while (piece.bytes && isspace((unsigned char)piece.text[piece.bytes - 1]))
        piece.bytes--;
    return piece;
}

/* What stands between the brackets, if there are any; false if they do not match. */
static bool strip_brackets(struct piece *body, bool *bracketed)
{
    *body = trimmed(*body);
    bool opens = body->bytes > 0 && body->text[0] == '[';
    bool closes = body->bytes > 0 && body->text[body->bytes - 1] == ']';
    *bracketed = opens;
    if (opens && closes)
        *body = trimmed((struct piece){body->text + 1, body->bytes - 2});
    return opens == closes;
}

/* Copies of the texts between separators. "1-2-3" has no comma: then '-' separates, except as the
 * first character, where it is a sign. */
static enum retort_status split(const struct setting *row, const char *text, struct arena *arena,
                                const struct place *place, struct text_list *list)
{
    struct piece body = {text, strlen(text)};
    bool bracketed;
    if (!strip_brackets(&body, &bracketed))
        return refuse_value(place, row, text);
    bool dashes = row->type == SETTING_INTS && !bracketed && !memchr(body.text, ',', body.bytes);
    char separator = dashes ? '-' : ',';
    size_t count = body.bytes > 0;
    for (size_t i = 1; i < body.bytes; i++)
        count += body.text[i] == separator;
    if (count > INT_MAX / sizeof(char *))
        return refuse_value(place, row, "a longer list");
    void *items;
    TRY(arena_take(arena, count * sizeof(char *), &items));
    *list = (struct text_list){(int)count, items};
    size_t start = 0;
    for (size_t i = 0; i < count; i++) {
        size_t end = start + (i == 0);
        while (end < body.bytes && body.text[end] != separator)
            end++;
        struct piece piece = trimmed((struct piece){body.text + start, end - start});
        list->items[i] = arena_text_n(arena, piece.text, piece.bytes);
        if (!list->items[i])
            return fail(RETORT_MEMORY, "out of memory: a list of settings was wanted");
        start = end + 1;
    }
    return RETORT_OK;
}

static enum retort_status set_ints(const struct setting *row, struct int_list *field,
                                   const char *text, struct arena *arena, const struct place *place)
{
    struct text_list texts;
    TRY(split(row, text, arena, place, &texts));
    void *items;
    TRY(arena_take(arena, (size_t)texts.count * sizeof(int), &items));
    struct int_list list = {texts.count, items};
    struct setting item = settings_item(row);
    for (int i = 0; i < list.count; i++) {
        struct place at = place_item(place, i);
        if (!read_int(texts.items[i], &list.items[i]))
            return refuse_value(&at, &item, texts.items[i]);
    }
    TRY(check_field(row, &list, place));
    *field = list;
    return RETORT_OK;
}

static enum retort_status set_texts(const struct setting *row, struct text_list *field,
                                    const char *text, struct arena *arena,
                                    const struct place *place)
{
    struct text_list list;
    TRY(split(row, text, arena, place, &list));
    TRY(check_field(row, &list, place));
    *field = list;
    return RETORT_OK;
}

/* ---- groups ---- */

static enum retort_status make_option(const struct setting *row, void *field, struct arena *arena,
                                      void **option)
{
    void *made = *(void **)field;
    if (!made) {
        TRY(arena_take(arena, row->group->bytes, &made));
        TRY(settings_defaults(row->group, made, arena));
    }
    *option = made;
    return RETORT_OK;
}

/* A whole part is switched on, with its defaults, or off. */
static enum retort_status switch_option(const struct setting *row, void *field, const char *text,
                                        struct arena *arena, const struct place *place)
{
    bool on;
    void *option = NULL;
    if (!read_flag(text, &on))
        return refuse(place, "%.100s found, on, off or one of its settings wanted",
                      text[0] ? text : "nothing");
    if (on)
        TRY(make_option(row, field, arena, &option));
    *(void **)field = option;
    return RETORT_OK;
}

static enum retort_status set_field(const struct setting *row, void *field, const char *text,
                                    struct arena *arena, const struct place *place)
{
    union {
        int whole;
        double number;
        bool flag;
        const char *text;
    } value;
    bool read = false;
    size_t bytes = 0;
    switch (row->type) {
    case SETTING_INT:
        read = read_int(text, &value.whole);
        bytes = sizeof(value.whole);
        break;
    case SETTING_NUMBER:
        read = read_number(text, &value.number);
        bytes = sizeof(value.number);
        break;
    case SETTING_FLAG:
        read = read_flag(text, &value.flag);
        bytes = sizeof(value.flag);
        break;
    case SETTING_CHOICE:
        read = read_choice(row, text, &value.whole);
        bytes = sizeof(value.whole);
        break;
    case SETTING_TEXT:
        value.text = arena_text(arena, text);
        if (!value.text)
            return fail(RETORT_MEMORY, "out of memory: a text setting was wanted");
        read = true;
        bytes = sizeof(value.text);
        break;
    case SETTING_INTS:
        return set_ints(row, field, text, arena, place);
    case SETTING_TEXTS:
        return set_texts(row, field, text, arena, place);
    case SETTING_OPTION:
        return switch_option(row, field, text, arena, place);
    case SETTING_GROUPS:
        if (text[0])
            return refuse(place, "a value found, nothing wanted, which takes all items out, or the "
                                 "name of a setting inside one");
        *(struct group_list *)field = (struct group_list){0};
        return RETORT_OK;
    case SETTING_GROUP:
        return refuse(place, "a value found, the name of a setting inside it wanted");
    }
    if (!read)
        return refuse_value(place, row, text);
    TRY(check_field(row, &value, place));
    memcpy(field, &value, bytes);
    return RETORT_OK;
}

static enum retort_status set_in_list(const struct setting *row, const struct group_list *list,
                                      const char *path, const char *text, struct arena *arena,
                                      const struct place *place)
{
    char digits[16] = "";
    size_t bytes = strcspn(path, ".");
    if (bytes < sizeof(digits))
        memcpy(digits, path, bytes);
    int index;
    if (!read_int(digits, &index) || index < 0 || index >= list->count)
        return refuse(place, "item %.*s found, but there are %d, counted from 0", (int)bytes, path,
                      list->count);
    struct place at = place_item(place, index);
    if (path[bytes] != '.')
        return refuse(&at, "a value found, the name of a setting inside it wanted");
    return set_path(row->group, (char *)list->items + (size_t)index * row->group->bytes,
                    path + bytes + 1, text, arena, &at);
}

/* The rest of a path goes on inside this field. */
static enum retort_status set_inside(const struct setting *row, void *field, const char *path,
                                     const char *text, struct arena *arena,
                                     const struct place *place)
{
    if (row->type == SETTING_GROUP)
        return set_path(row->group, field, path, text, arena, place);
    if (row->type == SETTING_GROUPS)
        return set_in_list(row, field, path, text, arena, place);
    if (row->type != SETTING_OPTION)
        return refuse(place, "has no setting %.60s inside, it is one value", path);
    void *option;
    TRY(make_option(row, field, arena, &option));
    TRY(set_path(row->group, option, path, text, arena, place));
    *(void **)field = option;
    return RETORT_OK;
}

static enum retort_status set_path(const struct setting_table *table, void *target,
                                   const char *path, const char *text, struct arena *arena,
                                   const struct place *place)
{
    size_t bytes = strcspn(path, ".");
    char *name = arena_text_n(arena, path, bytes);
    if (!name)
        return fail(RETORT_MEMORY, "out of memory: the name of a setting was wanted");
    const struct setting *row = settings_find(table, name);
    if (!row)
        return refuse_name(place, table, name);
    struct place at = place_name(place, row->name);
    void *field = field_of(row, target);
    if (path[bytes] == '.')
        return set_inside(row, field, path + bytes + 1, text, arena, &at);
    return set_field(row, field, text, arena, &at);
}

/* ---- the interface ---- */

enum retort_status settings_set(const struct setting_table *table, void *target, const char *path,
                                const char *text, struct arena *arena)
{
    struct place root = place_root(table->name, ".", RETORT_INVALID);
    return set_path(table, target, path, text, arena, &root);
}

enum retort_status settings_defaults(const struct setting_table *table, void *target,
                                     struct arena *arena)
{
    struct place root = place_root(table->name, ".", RETORT_INVALID);
    memset(target, 0, table->bytes);
    for (int i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        struct place at = place_name(&root, row->name);
        if (row->type == SETTING_GROUP)
            TRY(settings_defaults(row->group, field_of(row, target), arena));
        else if (row->fallback && row->type != SETTING_OPTION && row->type != SETTING_GROUPS)
            TRY(set_field(row, field_of(row, target), row->fallback, arena, &at));
    }
    return RETORT_OK;
}

/* Where the value ends that begins at text: at the end, or at a comma before the next "key=". */
static size_t value_bytes(const char *text)
{
    for (size_t i = 0;; i++) {
        if (!text[i])
            return i;
        if (text[i] != ',')
            continue;
        const char *key = text + i + 1 + strspn(text + i + 1, " \t");
        size_t bytes = strcspn(key, ",=[] \t");
        if (bytes && key[bytes + strspn(key + bytes, " \t")] == '=')
            return i;
    }
}

/* Read the "key=value" at *cursor and move behind it. */
static enum retort_status parse_one(const struct setting_table *table, void *target, bool *given,
                                    const char **cursor, struct arena *arena,
                                    const struct place *place)
{
    size_t key_bytes = strcspn(*cursor, "=,");
    const char *value_text = *cursor + key_bytes + 1;
    struct piece key = trimmed((struct piece){*cursor, key_bytes});
    if ((*cursor)[key_bytes] != '=' || key.bytes == 0)
        return refuse(place, "%.60s found, key=value wanted", *cursor);
    size_t bytes = value_bytes(value_text);
    struct piece value = trimmed((struct piece){value_text, bytes});
    char *path = arena_text_n(arena, key.text, key.bytes);
    char *text = arena_text_n(arena, value.text, value.bytes);
    if (!path || !text)
        return fail(RETORT_MEMORY, "out of memory: settings were to be read");
    TRY(set_path(table, target, path, text, arena, place));
    const struct setting *row = settings_find(table, path);
    if (row && given[row - table->rows]) {
        struct place at = place_name(place, path);
        return refuse(&at, "given twice");
    }
    if (row)
        given[row - table->rows] = true;
    *cursor = value_text + bytes + (value_text[bytes] == ',');
    return RETORT_OK;
}

enum retort_status settings_parse(const struct setting_table *table, void *target,
                                  const char *where, const char *text, struct arena *arena)
{
    struct place root = place_root(where, ": ", RETORT_INVALID);
    void *made, *given;
    TRY(arena_take(arena, table->bytes, &made));
    TRY(arena_take(arena, (size_t)table->count * sizeof(bool), &given));
    TRY(settings_defaults(table, made, arena));
    const char *cursor = text + strspn(text, " \t");
    while (*cursor)
        TRY(parse_one(table, made, given, &cursor, arena, &root));
    for (int i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        struct place at = place_name(&root, row->name);
        if (row->type < SETTING_GROUP && !row->fallback && !((bool *)given)[i])
            return refuse_value(&at, row, "");
    }
    memcpy(target, made, table->bytes);
    return RETORT_OK;
}
