/* recipe_emit.c - YAML text out of a recipe's tree and out of settings. */
#include "recipe/recipe_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An emitter that writes into memory. */
struct printer {
    yaml_emitter_t emitter;
    FILE *stream;
    char *text;
    size_t size;
};

static bool printer_start(struct printer *printer)
{
    *printer = (struct printer){0};
    if (!yaml_emitter_initialize(&printer->emitter))
        return false;
    printer->stream = open_memstream(&printer->text, &printer->size);
    if (!printer->stream) {
        yaml_emitter_delete(&printer->emitter);
        return false;
    }
    yaml_emitter_set_output_file(&printer->emitter, printer->stream);
    yaml_emitter_set_width(&printer->emitter, -1);
    yaml_emitter_set_unicode(&printer->emitter, 1);
    return yaml_emitter_open(&printer->emitter) ? true : false;
}

/* The text, when all went well (ok) so far and here; *text is the caller's. */
static enum retort_status printer_finish(struct printer *printer, bool ok, char **text)
{
    ok = ok && yaml_emitter_close(&printer->emitter);
    if (printer->stream) {
        yaml_emitter_delete(&printer->emitter);
        ok = !ferror(printer->stream) && ok;
        ok = fclose(printer->stream) == 0 && ok;
    }
    ok = ok && printer->text; /* glibc's fclose does not tell when memory is out */
    if (ok)
        *text = printer->text;
    else
        free(printer->text);
    return ok ? RETORT_OK : fail(RETORT_MEMORY, "out of memory: a recipe was to be written");
}

/* ---- single values in lists ---- */

/* Put a list around a value. Adding a node moves all of them: nodes are held by index. */
static bool wrap_value(yaml_document_t *document, int mapping, long pair)
{
    int list = yaml_document_add_sequence(document, NULL, YAML_FLOW_SEQUENCE_STYLE);
    yaml_node_pair_t *held = document->nodes.start[mapping - 1].data.mapping.pairs.start + pair;
    if (!list || !yaml_document_append_sequence_item(document, list, held->value))
        return false;
    held->value = list;
    return true;
}

/* false: memory is out. Goes as deep as the tables do. */
static bool wrap_values(yaml_document_t *document, int mapping, const struct setting_table *table);

static bool wrap_items(yaml_document_t *document, int list, const struct setting_table *table)
{
    const yaml_node_t *node = recipe_tree_node(document, list);
    long count = node->type == YAML_SEQUENCE_NODE
                     ? node->data.sequence.items.top - node->data.sequence.items.start
                     : 0;
    for (long i = 0; i < count; i++)
        if (!wrap_values(document, recipe_tree_node(document, list)->data.sequence.items.start[i],
                         table))
            return false;
    return true;
}

static bool wrap_pair(yaml_document_t *document, int mapping, long pair,
                      const struct setting_table *table)
{
    const yaml_node_pair_t *held =
        recipe_tree_node(document, mapping)->data.mapping.pairs.start + pair;
    const yaml_node_t *value = recipe_tree_node(document, held->value);
    const struct setting *row = settings_find(
        table, (const char *)recipe_tree_node(document, held->key)->data.scalar.value);
    if (!row)
        return true;
    if (row->type == SETTING_GROUPS)
        return wrap_items(document, held->value, row->group);
    if (row->type == SETTING_GROUP || row->type == SETTING_OPTION)
        return wrap_values(document, held->value, row->group);
    bool single = value->type == YAML_SCALAR_NODE && value->data.scalar.length > 0;
    if (single && (row->type == SETTING_INTS || row->type == SETTING_TEXTS))
        return wrap_value(document, mapping, pair);
    return true;
}

static bool wrap_values(yaml_document_t *document, int mapping, const struct setting_table *table)
{
    const yaml_node_t *node = recipe_tree_node(document, mapping);
    long count = node->type == YAML_MAPPING_NODE
                     ? node->data.mapping.pairs.top - node->data.mapping.pairs.start
                     : 0;
    for (long i = 0; i < count; i++)
        if (!wrap_pair(document, mapping, i, table))
            return false;
    return true;
}

enum retort_status recipe_yaml_with_lists(const struct recipe_yaml *yaml,
                                          const struct setting_table *table, char **text)
{
    yaml_document_t document;
    TRY(recipe_tree_load(yaml, &document));
    struct printer printer;
    bool ok = printer_start(&printer) && wrap_values(&document, 1, table);
    if (ok)
        ok = yaml_emitter_dump(&printer.emitter, &document); /* takes the document */
    else
        yaml_document_delete(&document);
    return printer_finish(&printer, ok, text);
}

/* ---- settings ---- */

/* The shortest decimal that reads back as the same number. */
static void print_number(double number, char *text, size_t size)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            return;
    }
}

static bool emit(yaml_emitter_t *emitter, yaml_event_t *event, int made)
{
    return made && yaml_emitter_emit(emitter, event);
}

static bool emit_scalar(yaml_emitter_t *emitter, const char *text, yaml_scalar_style_t style)
{
    yaml_event_t event;
    return emit(emitter, &event,
                yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
                                             (int)strlen(text), 1, 1, style));
}

/* Quoted where a reader without a schema would see a number, true, false or null. */
static bool emit_text(yaml_emitter_t *emitter, const char *text)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no",
                                        "on",   "off",   "y",    "n"};
    bool quoted = !text[0] || strchr("0123456789+-.~", text[0]);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        quoted = quoted || strcasecmp(text, words[i]) == 0;
    return emit_scalar(emitter, text,
                       quoted ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_ANY_SCALAR_STYLE);
}

static bool emit_json(yaml_emitter_t *emitter, const json_t *value);

static bool emit_list(yaml_emitter_t *emitter, const json_t *array)
{
    yaml_event_t event;
    bool plain = !json_is_object(json_array_get(array, 0));
    bool ok = emit(emitter, &event,
                   yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
                                                        plain ? YAML_FLOW_SEQUENCE_STYLE
                                                              : YAML_BLOCK_SEQUENCE_STYLE));
    for (size_t i = 0; ok && i < json_array_size(array); i++)
        ok = emit_json(emitter, json_array_get(array, i));
    return ok && emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
}

static bool emit_mapping(yaml_emitter_t *emitter, const json_t *object)
{
    yaml_event_t event;
    const char *key;
    json_t *value;
    bool ok =
        emit(emitter, &event,
             yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE));
    json_object_foreach((json_t *)object, key, value)
    {
        ok = ok && emit_scalar(emitter, key, YAML_PLAIN_SCALAR_STYLE) && emit_json(emitter, value);
    }
    return ok && emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
}

static bool emit_json(yaml_emitter_t *emitter, const json_t *value)
{
    char number[40];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return emit_mapping(emitter, value);
    case JSON_ARRAY:
        return emit_list(emitter, value);
    case JSON_STRING:
        return emit_text(emitter, json_string_value(value));
    case JSON_INTEGER:
        snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
        return emit_scalar(emitter, number, YAML_PLAIN_SCALAR_STYLE);
    case JSON_REAL:
        print_number(json_real_value(value), number, sizeof(number));
        return emit_scalar(emitter, number, YAML_PLAIN_SCALAR_STYLE);
    case JSON_TRUE:
    case JSON_FALSE:
        return emit_scalar(emitter, json_is_true(value) ? "true" : "false",
                           YAML_PLAIN_SCALAR_STYLE);
    case JSON_NULL:
        break;
    }
    return emit_scalar(emitter, "", YAML_PLAIN_SCALAR_STYLE);
}

enum retort_status recipe_yaml_of_json(const json_t *object, char **text)
{
    struct printer printer;
    yaml_event_t event;
    bool ok = printer_start(&printer);
    ok = ok && emit(&printer.emitter, &event,
                    yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
    ok = ok && emit_json(&printer.emitter, object);
    ok = ok && emit(&printer.emitter, &event, yaml_document_end_event_initialize(&event, 1));
    return printer_finish(&printer, ok, text);
}
