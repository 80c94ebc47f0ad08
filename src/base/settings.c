/* settings.c - what a table accepts: find, describe, check, and the sentences of refusals.
 *
 * settings_text.c gives values from text and defaults, settings_json.c goes to JSON and back; all
 * of them check through check_field, so a value has one range and one message wherever it comes
 * from. Tables are the program's own and trusted; values are not. */
#include "base/settings_place.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE = 512, LONGEST_NAME = 64 };

const struct setting *settings_find(const struct setting_table *table, const char *name)
{
    for (int i = 0; i < table->count; i++)
        if (strcmp(table->rows[i].name, name) == 0)
            return &table->rows[i];
    return NULL;
}

/* Append to text without ever passing its end. */
static void add(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

/* "a whole number", "numbers": then the range, if there is one. */
static void add_range(char *text, size_t size, const struct setting *row, const char *what)
{
    double open = row->type == SETTING_NUMBER ? (double)INFINITY : (double)INT_MAX;
    add(text, size, "%s", what);
    if (row->low == 0 && row->high == 0)
        return;
    if (row->high >= open)
        add(text, size, " of at least %.15g", row->low);
    else
        add(text, size, " from %.15g to %.15g", row->low, row->high);
}

static void add_words(char *text, size_t size, const char *what, const char *const *words)
{
    add(text, size, "%s ", what);
    for (int i = 0; words[i]; i++)
        add(text, size, "%s%s", i ? ", " : "", words[i]);
}

void settings_describe(const struct setting *row, char *text, size_t size)
{
    if (size == 0)
        return;
    text[0] = '\0';
    switch (row->type) {
    case SETTING_INT:
        add_range(text, size, row, "a whole number");
        break;
    case SETTING_NUMBER:
        add_range(text, size, row, "a number");
        break;
    case SETTING_FLAG:
        add(text, size, "true or false");
        break;
    case SETTING_TEXT:
        add(text, size, "a text");
        break;
    case SETTING_CHOICE:
        add_words(text, size, "one of", row->choices);
        break;
    case SETTING_INTS:
        add_range(text, size, row, "a list of whole numbers");
        break;
    case SETTING_TEXTS:
        if (row->choices)
            add_words(text, size, "a list of", row->choices);
        else
            add(text, size, "a list of texts");
        break;
    case SETTING_GROUP:
    case SETTING_OPTION:
        add(text, size, "settings of %s", row->group->name);
        break;
    case SETTING_GROUPS:
        add(text, size, "a list of settings of %s", row->group->name);
        break;
    }
}

struct setting settings_item(const struct setting *row)
{
    struct setting item = *row;
    if (row->type == SETTING_INTS)
        item.type = SETTING_INT;
    else if (row->type == SETTING_TEXTS)
        item.type = row->choices ? SETTING_CHOICE : SETTING_TEXT;
    else if (row->type == SETTING_GROUPS)
        item.type = SETTING_GROUP;
    return item;
}

/* ---- places and refusals ---- */

struct place place_root(const char *where, const char *after, enum retort_status status)
{
    return (struct place){
        .name = where && where[0] ? where : NULL, .after = after, .status = status};
}

struct place place_name(const struct place *up, const char *name)
{
    return (struct place){.up = up, .name = name};
}

struct place place_item(const struct place *up, int index)
{
    return (struct place){.up = up, .index = index};
}

static enum retort_status place_print(const struct place *place, char *text, size_t size)
{
    if (!place->up) {
        snprintf(text, size, "%s", place->name ? place->name : "");
        return place->status;
    }
    enum retort_status status = place_print(place->up, text, size);
    if (text[0])
        add(text, size, "%s", place->up->up ? "." : place->up->after);
    if (place->name)
        add(text, size, "%s", place->name);
    else
        add(text, size, "%d", place->index);
    return status;
}

enum retort_status refuse(const struct place *place, const char *format, ...)
{
    char where[SENTENCE], sentence[SENTENCE];
    enum retort_status status = place_print(place, where, sizeof(where));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return where[0] ? fail(status, "%s: %s", where, sentence) : fail(status, "%s", sentence);
}

enum retort_status refuse_value(const struct place *place, const struct setting *row,
                                const char *found)
{
    char wanted[SENTENCE / 2];
    settings_describe(row, wanted, sizeof(wanted));
    return refuse(place, "%.100s found, %s wanted", found[0] ? found : "nothing", wanted);
}

/* Levenshtein's distance, row by row. */
static int distance(const char *a, const char *b)
{
    int costs[LONGEST_NAME + 1];
    int length = (int)strnlen(b, LONGEST_NAME);
    for (int j = 0; j <= length; j++)
        costs[j] = j;
    for (int i = 0; a[i]; i++) {
        int diagonal = costs[0];
        costs[0] = i + 1;
        for (int j = 0; j < length; j++) {
            int best = diagonal + (a[i] != b[j]);
            diagonal = costs[j + 1];
            if (diagonal + 1 < best)
                best = diagonal + 1;
            if (costs[j] + 1 < best)
                best = costs[j] + 1;
            costs[j + 1] = best;
        }
    }
    return costs[length];
}

/* The known name that `name` was probably meant to be, or NULL. */
static const char *nearest_name(const struct setting_table *table, const char *name)
{
    const char *nearest = NULL;
    size_t length = strnlen(name, LONGEST_NAME + 1);
    int limit = length > LONGEST_NAME ? 0 : (int)length / 3 + 1;
    for (int i = 0; i < table->count && limit > 0; i++) {
        int far = distance(name, table->rows[i].name);
        if (far <= limit && far < (int)length) {
            nearest = table->rows[i].name;
            limit = far - 1;
        }
    }
    return nearest;
}

enum retort_status refuse_name(const struct place *place, const struct setting_table *table,
                               const char *name)
{
    char known[SENTENCE / 2] = "";
    for (int i = 0; i < table->count; i++)
        add(known, sizeof(known), "%s%s", i ? ", " : "", table->rows[i].name);
    const char *nearest = nearest_name(table, name);
    struct place unknown = place_name(place, name);
    return refuse(&unknown, "unknown setting%s%s%s, known are %s", nearest ? " (did you mean " : "",
                  nearest ? nearest : "", nearest ? "?)" : "", known);
}

enum retort_status settings_unknown(enum retort_status status, const struct setting_table *table,
                                    const char *where, const char *name)
{
    struct place root = place_root(where, ".", status);
    return refuse_name(&root, table, name);
}

/* ---- check ---- */

static bool in_range(const struct setting *row, double value)
{
    return isfinite(value) &&
           ((row->low == 0 && row->high == 0) || (value >= row->low && value <= row->high));
}

static enum retort_status check_number(const struct setting *row, double value,
                                       const struct place *place)
{
    if (in_range(row, value))
        return RETORT_OK;
    char found[64];
    snprintf(found, sizeof(found), "%.15g", value);
    return refuse_value(place, row, found);
}

static int word_count(const char *const *words)
{
    int count = 0;
    while (words[count])
        count++;
    return count;
}

static enum retort_status check_choice(const struct setting *row, int index,
                                       const struct place *place)
{
    char found[32];
    snprintf(found, sizeof(found), "choice %d", index);
    return index >= 0 && index < word_count(row->choices) ? RETORT_OK
                                                          : refuse_value(place, row, found);
}

static enum retort_status check_ints(const struct setting *row, const struct int_list *list,
                                     const struct place *place)
{
    struct setting item = settings_item(row);
    for (int i = 0; i < list->count; i++) {
        struct place at = place_item(place, i);
        TRY(check_number(&item, list->items[i], &at));
    }
    return RETORT_OK;
}

static enum retort_status check_texts(const struct setting *row, const struct text_list *list,
                                      const struct place *place)
{
    struct setting item = settings_item(row);
    for (int i = 0; i < list->count; i++) {
        struct place at = place_item(place, i);
        bool known = !row->choices;
        for (int j = 0; !known && row->choices[j]; j++)
            known = strcmp(row->choices[j], list->items[i]) == 0;
        if (!known || !list->items[i][0])
            return refuse_value(&at, &item, list->items[i]);
    }
    return RETORT_OK;
}

static enum retort_status check_table(const struct setting_table *table, const void *target,
                                      const struct place *place)
{
    for (int i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        struct place at = place_name(place, row->name);
        TRY(check_field(row, field_view(row, target), &at));
    }
    return RETORT_OK;
}

static enum retort_status check_groups(const struct setting *row, const struct group_list *list,
                                       const struct place *place)
{
    for (int i = 0; i < list->count; i++) {
        struct place at = place_item(place, i);
        TRY(check_table(row->group, (const char *)list->items + (size_t)i * row->group->bytes,
                        &at));
    }
    return RETORT_OK;
}

enum retort_status check_field(const struct setting *row, const void *field,
                               const struct place *place)
{
    switch (row->type) {
    case SETTING_INT:
        return check_number(row, *(const int *)field, place);
    case SETTING_NUMBER:
        return check_number(row, *(const double *)field, place);
    case SETTING_CHOICE:
        return check_choice(row, *(const int *)field, place);
    case SETTING_INTS:
        return check_ints(row, field, place);
    case SETTING_TEXTS:
        return check_texts(row, field, place);
    case SETTING_GROUP:
        return check_table(row->group, field, place);
    case SETTING_OPTION: {
        const void *option = *(void *const *)field;
        return option ? check_table(row->group, option, place) : RETORT_OK;
    }
    case SETTING_GROUPS:
        return check_groups(row, field, place);
    case SETTING_TEXT:
        return *(const char *const *)field ? RETORT_OK : refuse_value(place, row, "");
    case SETTING_FLAG:
        break;
    }
    return RETORT_OK;
}

enum retort_status settings_check(const struct setting_table *table, const void *target,
                                  const char *where)
{
    struct place root = place_root(where, ": ", RETORT_INVALID);
    return check_table(table, target, &root);
}
