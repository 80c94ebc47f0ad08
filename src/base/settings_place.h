/* settings_place.h - inside settings_*.c: where a value stands, and how one is refused.
 *
 * A place is a chain of names on the stack of the functions that walk a table; it becomes text only
 * when something is wrong there. */
#ifndef BASE_SETTINGS_PLACE_H
#define BASE_SETTINGS_PLACE_H

#include "base/settings.h"

struct place {
    const struct place *up; /* NULL: this is the root, `name` the text that messages begin with */
    const char *name;       /* NULL: the item called index of a list */
    int index;
    const char *after;         /* root only: what separates it from the names, ": " or "." */
    enum retort_status status; /* root only: what a refusal returns */
};

struct place place_root(const char *where, const char *after, enum retort_status status);
struct place place_name(const struct place *up, const char *name);
struct place place_item(const struct place *up, int index);

/* "PLACE: FOUND found, WHAT ROW ACCEPTS wanted". */
enum retort_status refuse_value(const struct place *place, const struct setting *row,
                                const char *found);
/* "PLACE: SENTENCE". */
enum retort_status refuse(const struct place *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "PLACE.NAME: unknown; did you mean ...? Known are ...". */
enum retort_status refuse_name(const struct place *place, const struct setting_table *table,
                               const char *name);

/* Is the value at field (a value of the row's type) allowed? */
enum retort_status check_field(const struct setting *row, const void *field,
                               const struct place *place);

static inline void *field_of(const struct setting *row, void *target)
{
    return (char *)target + row->offset;
}

static inline const void *field_view(const struct setting *row, const void *target)
{
    return (const char *)target + row->offset;
}

#endif
