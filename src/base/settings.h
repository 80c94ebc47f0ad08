/* settings.h - one table row per setting, read by everything that takes settings.
 *
 * A struct whose fields a user may set is described once, by a table of rows {name, type, place,
 * range, default, help}. Network specifications (resnet:depth=8,width=2), graph attributes in model
 * files, the options of losses, recipes, --set and the resolved recipe all go through such tables,
 * so names, ranges, defaults and messages cannot drift. Unknown names are errors that list the
 * known ones.
 *
 *     struct kl_settings { double weight, temperature; };
 *     static const struct setting kl_rows[] = {
 *         {"weight", SETTING_NUMBER, offsetof(struct kl_settings, weight), .low = 0, .high = 1e6,
 *          .fallback = "1", .help = "factor of this loss in the sum"},
 *         ...
 *     };
 *     const struct setting_table kl_settings = SETTING_TABLE("kl", struct kl_settings, kl_rows); */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"
#include "base/status.h"

enum setting_type {                 /* the field's C type */
                    SETTING_INT,    /* int */
                    SETTING_NUMBER, /* double */
                    SETTING_FLAG,   /* bool; text form true/false, on/off, yes/no, 1/0 */
                    SETTING_TEXT,   /* const char * */
                    SETTING_CHOICE, /* int, index into choices */
                    SETTING_INTS,   /* struct int_list; text form 1,2,3 or 1-2-3 or [1, 2, 3] */
                    SETTING_TEXTS,  /* struct text_list; text form a,b,c or [a, b, c] */
                    SETTING_GROUP,  /* an embedded struct described by `group`; absent means all
                                       defaults */
                    SETTING_OPTION, /* a pointer to such a struct, NULL when absent */
                    SETTING_GROUPS, /* struct group_list: items of group->bytes each */
};

struct int_list {
    int count;
    int *items;
};
struct text_list {
    int count;
    const char **items;
};
struct group_list {
    int count;
    void *items;
};

struct setting_table;

struct setting {
    const char *name;
    enum setting_type type;
    size_t offset;
    double low, high;     /* INT, NUMBER and each of INTS: the values allowed, both included;
                             low == high == 0 means any */
    const char *fallback; /* the default as text; NULL: the user must give it;
                             "" is the empty text, an empty list, for TEXT */
    const char *help;
    const char *const *choices; /* CHOICE, and TEXTS if set: the words allowed, NULL at the end */
    const struct setting_table *group;
};

struct setting_table {
    const char *name; /* what messages call it, e.g. "resnet", "recipe" */
    const struct setting *rows;
    int count;
    size_t bytes; /* of the struct described */
};

#define SETTING_TABLE(title, type, row_array)                                                      \
    {                                                                                              \
        (title), (row_array), (int)(sizeof(row_array) / sizeof((row_array)[0])), sizeof(type)      \
    }

/* The row called name, or NULL. */
const struct setting *settings_find(const struct setting_table *table, const char *name);

/* Zero target and give every field its default (GROUP: recursively; OPTION: NULL; GROUPS: none).
 * Rows without a default keep zero. Texts and lists are made in arena. */
enum retort_status settings_defaults(const struct setting_table *table, void *target,
                                     struct arena *arena);

/* Set one field from text. path is a row's name, or names with dots through GROUP, OPTION (made
 * with its defaults if absent) and GROUPS (an index: "stages.0.epochs"). An OPTION itself takes on
 * or off, GROUPS the empty text, for none. Checks type, range and choices: RETORT_INVALID
 * "kl.temperature: -1 found, a number from 0.01 to 1000 wanted". */
enum retort_status settings_set(const struct setting_table *table, void *target, const char *path,
                                const char *text, struct arena *arena);

/* Read "key=value,key=value" on top of the defaults; messages begin with "where: ", or with the
 * setting's name when where is NULL or "". A comma inside a list is no separator when what follows
 * it is no "key=": "widths=16,16,32,64,depth=8" works. Rows that must be given and are not are
 * errors. target is written on success only. */
enum retort_status settings_parse(const struct setting_table *table, void *target,
                                  const char *where, const char *text, struct arena *arena);

/* Check one value that came from elsewhere (recipe, JSON): range and choices of every field, groups
 * included. where: as for settings_parse. */
enum retort_status settings_check(const struct setting_table *table, const void *target,
                                  const char *where);

/* A JSON object with every field (OPTION only when present), in the table's order; NULL when memory
 * is out. The caller owns the reference. */
json_t *settings_json(const struct setting_table *table, const void *target);

/* Fill target from a JSON object on top of the defaults; unknown keys, wrong types, values out of
 * range are errors (RETORT_FORMAT) that begin with where. */
enum retort_status settings_from_json(const struct setting_table *table, void *target,
                                      const char *where, const json_t *object, struct arena *arena);

/* Fail with status and "WHERE.NAME: unknown setting (did you mean ...?), known are ..."; where NULL
 * or "": without it. */
enum retort_status settings_unknown(enum retort_status status, const struct setting_table *table,
                                    const char *where, const char *name);

/* A list's row as the type of its items: INT for INTS, CHOICE or TEXT for TEXTS, GROUP for GROUPS;
 * others as they are. */
struct setting settings_item(const struct setting *row);

/* "a number from 0 to 1", "one of A, B", "true or false": what a row accepts, in words, into
 * text of at most `size` bytes. */
void settings_describe(const struct setting *row, char *text, size_t size);

#endif
