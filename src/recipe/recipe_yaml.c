/* recipe_yaml.c - a recipe's text as a tree that knows its lines.
 *
 * A recipe may come from anywhere, so its events are looked through before a tree is made of them:
 * libyaml 0.2.5 takes time that grows with the square of the nesting (4 s for 64 KiB of "[") and of
 * the number of anchors; neither is of use in a recipe. */
#include "recipe/recipe_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 32 };

/* ---- from text ---- */

static enum retort_status fail_at(const char *name, yaml_mark_t mark, const char *sentence)
{
    return fail(RETORT_FORMAT, "%s:%zu:%zu: %s", name, mark.line + 1, mark.column + 1, sentence);
}

static enum retort_status fail_parser(const char *name, const yaml_parser_t *parser)
{
    if (!parser->problem) /* libyaml's loader does not say so when memory is out */
        return fail(RETORT_MEMORY, "%s: out of memory", name);
    if (parser->error == YAML_READER_ERROR)
        return fail(RETORT_FORMAT, "%s: byte %zu: %s", name, parser->problem_offset,
                    parser->problem);
    return fail_at(name, parser->problem_mark, parser->problem);
}

static enum retort_status start_parser(const struct recipe_yaml *yaml, yaml_parser_t *parser)
{
    if (!yaml_parser_initialize(parser))
        return fail(RETORT_MEMORY, "%s: out of memory", yaml->name);
    yaml_parser_set_input_string(parser, yaml->bytes.data, yaml->bytes.size);
    return RETORT_OK;
}

static const char *event_anchor(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return (const char *)event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

/* What a recipe cannot hold, or NULL. */
static const char *event_problem(const yaml_event_t *event, int depth, int documents)
{
    if (event->type == YAML_ALIAS_EVENT || event_anchor(event))
        return "anchors and aliases have no place in a recipe";
    if (event->type == YAML_SCALAR_EVENT &&
        strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        return "a zero byte inside a value";
    if (depth > DEEPEST)
        return "nested deeper than any recipe is";
    if (documents > 1)
        return "a second document found, a recipe is a single one";
    return NULL;
}

static enum retort_status check_event(const struct recipe_yaml *yaml, const yaml_event_t *event,
                                      int *depth, int *documents)
{
    bool opens =
        event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT;
    bool closes = event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT;
    *depth += opens - closes;
    *documents += event->type == YAML_DOCUMENT_START_EVENT;
    const char *problem = event_problem(event, *depth, *documents);
    return problem ? fail_at(yaml->name, event->start_mark, problem) : RETORT_OK;
}

static enum retort_status check_events(const struct recipe_yaml *yaml)
{
    yaml_parser_t parser;
    TRY(start_parser(yaml, &parser));
    enum retort_status status = RETORT_OK;
    int depth = 0, documents = 0;
    bool more = true;
    while (more && status == RETORT_OK) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            status = fail_parser(yaml->name, &parser);
            break;
        }
        status = check_event(yaml, &event, &depth, &documents);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (status == RETORT_OK && documents == 0)
        status = fail(RETORT_FORMAT, "%s: empty, a recipe was expected", yaml->name);
    return status;
}

enum retort_status recipe_tree_load(const struct recipe_yaml *yaml, yaml_document_t *document)
{
    yaml_parser_t parser;
    TRY(start_parser(yaml, &parser));
    enum retort_status status = RETORT_OK;
    if (!yaml_parser_load(&parser, document))
        status = fail_parser(yaml->name, &parser);
    yaml_parser_delete(&parser);
    return status;
}

static enum retort_status check_nodes(const struct recipe_yaml *yaml)
{
    const yaml_node_t *root = yaml->document.nodes.start;
    if (root->type != YAML_MAPPING_NODE)
        return fail_at(yaml->name, root->start_mark,
                       "a recipe is a mapping of names to values, as in \"name: demo\"");
    for (const yaml_node_t *node = root; node != yaml->document.nodes.top; node++) {
        if (node->type != YAML_MAPPING_NODE)
            continue;
        for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
             pair != node->data.mapping.pairs.top; pair++) {
            const yaml_node_t *key = recipe_tree_node(&yaml->document, pair->key);
            if (key->type != YAML_SCALAR_NODE)
                return fail_at(yaml->name, key->start_mark,
                               "the name of a setting was expected, not a list or a group");
        }
    }
    return RETORT_OK;
}

enum retort_status recipe_yaml_open(const char *name, struct file_bytes bytes,
                                    struct recipe_yaml **yaml)
{
    struct recipe_yaml *made;
    void *block;
    TRY(memory_zeroed(1, sizeof(*made), &block));
    made = block;
    made->name = name;
    made->bytes = bytes;
    enum retort_status status = check_events(made);
    if (status == RETORT_OK)
        status = recipe_tree_load(made, &made->document);
    if (status != RETORT_OK) {
        free(made);
        return status;
    }
    status = check_nodes(made);
    if (status == RETORT_OK)
        *yaml = made;
    else
        recipe_yaml_close(made);
    return status;
}

void recipe_yaml_close(struct recipe_yaml *yaml)
{
    if (yaml)
        yaml_document_delete(&yaml->document);
    free(yaml);
}

/* ---- places ---- */

struct found {
    const yaml_node_t *node;
    size_t line; /* of its name, or of itself in a list */
};

static bool step_into_list(const yaml_document_t *document, const char *step, size_t bytes,
                           struct found *found)
{
    const yaml_node_t *list = found->node;
    long count = list->data.sequence.items.top - list->data.sequence.items.start;
    char *end;
    long index = strtol(step, &end, 10);
    if (end != step + bytes || index < 0 || index >= count)
        return false;
    found->node = recipe_tree_node(document, list->data.sequence.items.start[index]);
    found->line = found->node->start_mark.line;
    return true;
}

/* Of a name that is given twice, the last: that is the one that is wrong. */
static bool step_into_mapping(const yaml_document_t *document, const char *step, size_t bytes,
                              struct found *found)
{
    const yaml_node_t *mapping = found->node;
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.top;
         pair != mapping->data.mapping.pairs.start;) {
        pair--;
        const yaml_node_t *key = recipe_tree_node(document, pair->key);
        if (key->data.scalar.length == bytes && memcmp(key->data.scalar.value, step, bytes) == 0) {
            found->node = recipe_tree_node(document, pair->value);
            found->line = key->start_mark.line;
            return true;
        }
    }
    return false;
}

/* Follow path as far as it goes; true if to its end. */
static bool follow(const struct recipe_yaml *yaml, const char *path, struct found *found)
{
    *found =
        (struct found){yaml->document.nodes.start, yaml->document.nodes.start->start_mark.line};
    while (*path) {
        size_t bytes = strcspn(path, ".");
        bool stepped = false;
        if (found->node->type == YAML_SEQUENCE_NODE)
            stepped = step_into_list(&yaml->document, path, bytes, found);
        else if (found->node->type == YAML_MAPPING_NODE)
            stepped = step_into_mapping(&yaml->document, path, bytes, found);
        if (!stepped)
            return false;
        path += bytes + (path[bytes] == '.');
    }
    return true;
}

enum retort_status recipe_yaml_locate(const struct recipe_yaml *yaml, enum retort_status status)
{
    if (status == RETORT_OK || status == RETORT_MEMORY)
        return status;
    char path[512];
    struct found found;
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(retort_message(), ":"), retort_message());
    follow(yaml, path, &found);
    return fail_in(status, "%s:%zu", yaml->name, found.line + 1);
}

bool recipe_yaml_has(const struct recipe_yaml *yaml, const char *path)
{
    struct found found;
    return follow(yaml, path, &found);
}

const char *recipe_yaml_found(const struct recipe_yaml *yaml, const char *path)
{
    struct found found;
    if (!follow(yaml, path, &found))
        return "nothing";
    if (found.node->type == YAML_SEQUENCE_NODE)
        return "a list";
    if (found.node->type == YAML_MAPPING_NODE)
        return "a group of settings";
    const char *text = (const char *)found.node->data.scalar.value;
    return text[0] ? text : "nothing";
}
