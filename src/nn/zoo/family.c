/* family.c - the list of families, what their builders share, and specifications. */
#include "nn/zoo/family.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DECLARE(name) extern const struct network_family family_##name;
FAMILIES(DECLARE)

const struct network_family *const network_families[] = {
#define ROW(name) &family_##name,
    FAMILIES(ROW) NULL};

struct zoo_name zoo_name(const char *format, ...)
{
    struct zoo_name name;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name.text, sizeof(name.text), format, arguments);
    va_end(arguments);
    return name;
}

enum retort_status zoo_conv(struct graph *graph, struct zoo_name name, int channels, int kernel,
                            int stride, int groups, bool bias, int *node)
{
    struct conv_attributes a = {channels, kernel, stride, kernel / 2, groups, bias};
    return graph_add(graph, OP_conv, name.text, node, 1, &a, node);
}

enum retort_status zoo_batch_norm(struct graph *graph, struct zoo_name name, int *node)
{
    return graph_add(graph, OP_batch_norm, name.text, node, 1, NULL, node);
}

enum retort_status zoo_relu(struct graph *graph, struct zoo_name name, int *node)
{
    return graph_add(graph, OP_relu, name.text, node, 1, NULL, node);
}

enum retort_status zoo_linear(struct graph *graph, struct zoo_name name, int features, int *node)
{
    struct linear_attributes a = {features};
    return graph_add(graph, OP_linear, name.text, node, 1, &a, node);
}

enum retort_status zoo_head(struct graph *graph, int classes, int *node)
{
    TRY(graph_add(graph, OP_global_avg_pool, "pool", node, 1, NULL, node));
    return zoo_linear(graph, zoo_name("fc"), classes, node);
}

int zoo_width(int width, double multiplier)
{
    int scaled = (int)(width * multiplier);
    return scaled < 1 ? 1 : scaled;
}

enum retort_status zoo_count(const char *name, const struct int_list *list, int wanted)
{
    if (list->count != wanted)
        return fail(RETORT_INVALID, "%s: %d numbers found, %d wanted", name, list->count, wanted);
    return RETORT_OK;
}

/* ---- specifications ---- */

static const struct network_family *find_family(const char *name, size_t length)
{
    for (int i = 0; network_families[i]; i++)
        if (strlen(network_families[i]->name) == length &&
            strncmp(network_families[i]->name, name, length) == 0)
            return network_families[i];
    return NULL;
}

static enum retort_status unknown_family(const char *name, size_t length)
{
    char known[256] = "";
    for (int i = 0; network_families[i]; i++)
        snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s%s", i ? ", " : "",
                 network_families[i]->name);
    return fail(RETORT_INVALID,
                "network family \"%.*s\" found, one of %s wanted (family:key=value,...)",
                (int)length, name, known);
}

/* "3x32x32" says what "3-32-32" says; only the value of `input` is written so. */
static void write_input_as_list(char *text)
{
    char *value = strstr(text, "input=");
    for (char *c = value; c && *c && *c != ','; c++)
        if (*c == 'x')
            *c = '-';
}

static enum retort_status build(const struct network_family *family, const void *settings,
                                const char *specification, int classes, struct shape input,
                                struct graph *graph)
{
    const struct family_common *common = settings;
    if (common->classes)
        classes = common->classes;
    if (classes < 1)
        return fail(RETORT_INVALID, "classes: %d found, at least 1 wanted", classes);
    if (common->input.count) {
        TRY(zoo_count("input", &common->input, 3));
        input =
            (struct shape){common->input.items[0], common->input.items[1], common->input.items[2]};
    }
    TRY(graph_begin(graph, specification, input));
    TRY(family->build(settings, classes, graph));
    return graph_finish(graph);
}

enum retort_status network_build(const char *specification, int classes, struct shape input,
                                 struct graph *graph)
{
    const size_t length = strcspn(specification, ":");
    const struct network_family *family = find_family(specification, length);
    struct graph made = {0};
    struct arena arena = {0};
    enum retort_status status;
    void *settings;
    if (!family)
        return unknown_family(specification, length);
    char *text = arena_text(&arena, specification[length] ? specification + length + 1 : "");
    if (!text)
        return fail(RETORT_MEMORY, "out of memory for a network");
    write_input_as_list(text);
    TRY_DONE(arena_take(&arena, family->settings->bytes, &settings));
    TRY_DONE(settings_parse(family->settings, settings, specification, text, &arena));
    status = build(family, settings, specification, classes, input, &made);
    if (status != RETORT_OK)
        status = fail_in(status, "%s", specification);
done:
    arena_release(&arena);
    if (status == RETORT_OK)
        *graph = made;
    else
        graph_release(&made);
    return status;
}
