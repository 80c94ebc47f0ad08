/* recipe_schema.c - a setting table as a libcyaml schema, and what libcyaml loads by it.
 *
 * libcyaml 1.3.1 knows no defaults: every value is loaded through a pointer that stays NULL when
 * the value is absent. A group is therefore loaded as a record, one slot for each row of its table,
 * and what a record holds is then put on top of the struct's defaults. libcyaml reads 1.5 as the
 * whole number 1 and "flase" as true, so single values are loaded as texts and read by
 * settings_set, as strictly as everywhere. What is wrong libcyaml tells in log lines, a sentence
 * and a backtrace of the names around it; they become one sentence here. */
#include "recipe/recipe_schema.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ITEMS = 1024, DEEPEST = 16, LONGEST_NAME = 64, LONGEST_PATH = 512 };

struct slot {
    void *value; /* NULL: absent, or a list of nothing */
    uint32_t count;
};

/* path (LONGEST_PATH bytes) becomes "path.step". */
static void add_step(char *path, const char *step)
{
    size_t used = strlen(path);
    snprintf(path + used, LONGEST_PATH - used, "%s%s", used ? "." : "", step);
}

/* ---- a table as a schema ---- */

static const cyaml_schema_value_t item_schema = {.type = CYAML_STRING,
                                                 .flags = CYAML_FLAG_POINTER,
                                                 .data_size = sizeof(char),
                                                 .string = {0, CYAML_UNLIMITED}};

static enum retort_status make_fields(const struct setting_table *table, struct arena *arena,
                                      const cyaml_schema_field_t **fields);

static enum retort_status make_group(const struct setting_table *table, enum cyaml_flag flags,
                                     struct arena *arena, cyaml_schema_value_t *value)
{
    *value = (cyaml_schema_value_t){.type = CYAML_MAPPING, .flags = flags};
    value->data_size = (uint32_t)table->count * (uint32_t)sizeof(struct slot);
    return make_fields(table, arena, &value->mapping.fields);
}

static void make_list(const cyaml_schema_value_t *item, size_t bytes, cyaml_schema_value_t *value)
{
    value->type = CYAML_SEQUENCE;
    value->data_size = (uint32_t)bytes;
    value->sequence.entry = item;
    value->sequence.min = 0;
    value->sequence.max = MOST_ITEMS;
}

static enum retort_status make_value(const struct setting *row, struct arena *arena,
                                     cyaml_schema_value_t *value)
{
    *value = item_schema;
    value->flags |= CYAML_FLAG_OPTIONAL;
    switch (row->type) {
    case SETTING_INTS:
    case SETTING_TEXTS:
        make_list(&item_schema, sizeof(char *), value);
        break;
    case SETTING_GROUP:
    case SETTING_OPTION:
        return make_group(row->group, value->flags, arena, value);
    case SETTING_GROUPS: {
        void *item;
        TRY(arena_take(arena, sizeof(*value), &item));
        TRY(make_group(row->group, CYAML_FLAG_DEFAULT, arena, item));
        make_list(item, ((cyaml_schema_value_t *)item)->data_size, value);
        break;
    }
    default:
        break;
    }
    return RETORT_OK;
}

static enum retort_status make_fields(const struct setting_table *table, struct arena *arena,
                                      const cyaml_schema_field_t **fields)
{
    void *block;
    TRY(arena_take(arena, ((size_t)table->count + 1) * sizeof(**fields), &block));
    cyaml_schema_field_t *made = block; /* zeroed: the last one's key is NULL */
    for (int i = 0; i < table->count; i++) {
        size_t offset = (size_t)i * sizeof(struct slot);
        made[i].key = table->rows[i].name;
        made[i].data_offset = (uint32_t)(offset + offsetof(struct slot, value));
        made[i].count_offset = (uint32_t)(offset + offsetof(struct slot, count));
        made[i].count_size = sizeof(uint32_t);
        TRY(make_value(&table->rows[i], arena, &made[i].value));
    }
    *fields = made;
    return RETORT_OK;
}

/* ---- what libcyaml says ---- */

/* The first sentence, and the steps of its backtrace, the innermost first. */
struct trace {
    char sentence[256];
    int depth;
    struct {
        char name[LONGEST_NAME]; /* "": the item called index of a list */
        int index;
    } steps[DEEPEST];
};

static void hear(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct trace *trace = context;
    char line[256];
    vsnprintf(line, sizeof(line), format, arguments);
    line[strcspn(line, "\n")] = '\0';
    unsigned item;
    char name[LONGEST_NAME];
    if (trace->depth < DEEPEST && sscanf(line, "  in mapping field '%63[^']'", name) == 1)
        strcpy(trace->steps[trace->depth++].name, name);
    else if (trace->depth < DEEPEST && sscanf(line, "  in sequence entry '%u'", &item) == 1)
        trace->steps[trace->depth++].index = item ? (int)item - 1 : 0; /* libcyaml counts from 1 */
    else if (!trace->sentence[0])
        strcpy(trace->sentence, line);
}

/* Where a trace ends. */
struct spot {
    char path[LONGEST_PATH];
    const struct setting_table *table; /* by which the innermost group is read */
    struct setting row;                /* of the innermost name; name NULL: the recipe itself */
};

static struct spot find_spot(const struct setting_table *table, const struct trace *trace)
{
    struct spot spot = {.table = table};
    for (int i = trace->depth - 1; i >= 0; i--) {
        const char *name = trace->steps[i].name;
        char index[16];
        snprintf(index, sizeof(index), "%d", trace->steps[i].index);
        add_step(spot.path, name[0] ? name : index);
        const struct setting *row = settings_find(spot.table, name);
        if (row)
            spot.row = *row;
        else
            spot.row = settings_item(&spot.row);
        if (row && row->group)
            spot.table = row->group;
    }
    return spot;
}

static enum retort_status fail_cyaml(const struct setting_table *table,
                                     const struct recipe_yaml *yaml, const struct trace *trace,
                                     cyaml_err_t error)
{
    static const char unknown[] = "Load: Unexpected key: ";
    struct spot spot = find_spot(table, trace);
    char wanted[256];
    switch (error) {
    case CYAML_ERR_OOM:
    case CYAML_ERR_LIBYAML_PARSER_INIT:
    case CYAML_ERR_LIBYAML_EVENT_INIT:
    case CYAML_ERR_LIBYAML_PARSER: /* the text is well-formed: nothing else can go wrong in it */
        return fail(RETORT_MEMORY, "out of memory: a recipe was to be read");
    case CYAML_ERR_INVALID_KEY:
        if (strncmp(trace->sentence, unknown, sizeof(unknown) - 1) == 0)
            return settings_unknown(RETORT_FORMAT, spot.table, spot.path,
                                    trace->sentence + sizeof(unknown) - 1);
        break;
    case CYAML_ERR_INVALID_VALUE: /* a list or group where none belongs, or the reverse */
        settings_describe(&spot.row, wanted, sizeof(wanted));
        return fail(RETORT_FORMAT, "%s: %.100s found, %s wanted", spot.path,
                    recipe_yaml_found(yaml, spot.path), wanted);
    case CYAML_ERR_UNEXPECTED_EVENT:
        if (strstr(trace->sentence, "already seen"))
            return fail(RETORT_FORMAT, "%s: given twice", spot.path);
        break;
    case CYAML_ERR_SEQUENCE_ENTRIES_MAX: /* the path ends with the index of the last item */
        *strrchr(spot.path, '.') = '\0';
        return fail(RETORT_FORMAT, "%s: more than %d items found", spot.path, MOST_ITEMS);
    default:
        break;
    }
    return fail(RETORT_FORMAT, "%s: %s", spot.path,
                trace->sentence[0] ? trace->sentence : cyaml_strerror(error));
}

/* ---- what libcyaml loads ---- */

/* What is needed to put a record on top of a struct, and which group of the recipe it is. */
struct filling {
    const struct recipe_yaml *yaml;
    struct arena *arena;
    char path[LONGEST_PATH];
};

static enum retort_status fill(const struct filling *filling, const struct setting_table *table,
                               const struct slot *record, void *target);

/* Numbers, words and lists of numbers are read as --set reads them. */
static enum retort_status fill_text(const struct filling *filling,
                                    const struct setting_table *table, const struct setting *row,
                                    const char *text, void *target)
{
    struct setting_table called = *table;
    called.name = filling->path; /* so messages begin with the path of the group */
    return settings_set(&called, target, row->name, text, filling->arena);
}

/* "1,2,3", NULL when memory is out. */
static char *join(const struct slot *slot, struct arena *arena)
{
    char *const *items = slot->value;
    size_t size = 1, used = 0;
    for (uint32_t i = 0; i < slot->count; i++)
        size += strlen(items[i]) + 1;
    char *text = arena_get(arena, size);
    for (uint32_t i = 0; text && i < slot->count; i++) {
        if (i)
            text[used++] = ',';
        memcpy(text + used, items[i], strlen(items[i]));
        used += strlen(items[i]);
    }
    return text;
}

static enum retort_status fill_texts(const struct filling *filling, const struct slot *slot,
                                     struct text_list *list)
{
    void *items;
    TRY(arena_take(filling->arena, slot->count * sizeof(char *), &items));
    *list = (struct text_list){(int)slot->count, items};
    for (uint32_t i = 0; i < slot->count; i++) {
        list->items[i] = arena_text(filling->arena, ((char *const *)slot->value)[i]);
        if (!list->items[i])
            return fail(RETORT_MEMORY, "out of memory: a recipe was to be read");
    }
    return RETORT_OK;
}

static enum retort_status fill_groups(const struct filling *filling,
                                      const struct setting_table *table, const struct slot *slot,
                                      struct group_list *list)
{
    void *items;
    TRY(arena_take(filling->arena, slot->count * table->bytes, &items));
    *list = (struct group_list){(int)slot->count, items};
    const struct slot *record = slot->value;
    for (uint32_t i = 0; i < slot->count; i++) {
        struct filling inside = *filling;
        char index[16];
        snprintf(index, sizeof(index), "%u", i);
        add_step(inside.path, index);
        char *item = (char *)items + i * table->bytes;
        TRY(settings_defaults(table, item, filling->arena));
        TRY(fill(&inside, table, record + (size_t)i * (size_t)table->count, item));
    }
    return RETORT_OK;
}

static enum retort_status fill_row(const struct filling *filling, const struct setting_table *table,
                                   const struct setting *row, const struct slot *slot, void *target)
{
    void *field = (char *)target + row->offset;
    struct filling inside = *filling;
    add_step(inside.path, row->name);
    bool list =
        row->type == SETTING_INTS || row->type == SETTING_TEXTS || row->type == SETTING_GROUPS;
    bool empty = list && recipe_yaml_has(filling->yaml, inside.path);
    if (!slot->value && !empty)
        return RETORT_OK;
    switch (row->type) {
    case SETTING_INTS: {
        const char *text = join(slot, filling->arena);
        return text ? fill_text(filling, table, row, text, target)
                    : fail(RETORT_MEMORY, "out of memory: a recipe was to be read");
    }
    case SETTING_TEXTS:
        return fill_texts(filling, slot, field);
    case SETTING_GROUP:
        return fill(&inside, row->group, slot->value, field);
    case SETTING_OPTION: {
        void *option;
        TRY(arena_take(filling->arena, row->group->bytes, &option));
        TRY(settings_defaults(row->group, option, filling->arena));
        TRY(fill(&inside, row->group, slot->value, option));
        *(void **)field = option;
        return RETORT_OK;
    }
    case SETTING_GROUPS:
        return fill_groups(&inside, row->group, slot, field);
    default:
        return fill_text(filling, table, row, slot->value, target);
    }
}

static enum retort_status fill(const struct filling *filling, const struct setting_table *table,
                               const struct slot *record, void *target)
{
    for (int i = 0; i < table->count; i++)
        TRY(fill_row(filling, table, &table->rows[i], &record[i], target));
    return RETORT_OK;
}

enum retort_status recipe_schema_read(const struct setting_table *table,
                                      const struct recipe_yaml *yaml, void *target,
                                      struct arena *arena)
{
    struct arena schema_arena = {0};
    struct trace trace = {0};
    const cyaml_config_t config = {.log_fn = hear,
                                   .log_ctx = &trace,
                                   .mem_fn = cyaml_mem,
                                   .log_level = CYAML_LOG_ERROR,
                                   .flags = CYAML_CFG_NO_ALIAS};
    cyaml_schema_value_t schema;
    char *text = NULL;
    void *record = NULL;
    enum retort_status status;
    TRY_DONE(make_group(table, CYAML_FLAG_POINTER, &schema_arena, &schema));
    TRY_DONE(recipe_yaml_with_lists(yaml, table, &text));
    cyaml_err_t error =
        cyaml_load_data((const uint8_t *)text, strlen(text), &config, &schema, &record, NULL);
    if (error != CYAML_OK)
        TRY_DONE(fail_cyaml(table, yaml, &trace, error));
    const struct filling filling = {.yaml = yaml, .arena = arena};
    if (record)
        TRY_DONE(fill(&filling, table, record, target));
done:
    if (record)
        cyaml_free(&config, &schema, record, 0);
    free(text);
    arena_release(&schema_arena);
    return status;
}
