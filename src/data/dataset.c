/* dataset.c - from a specification to a data set in memory. */
#include "data/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "data/format.h"
#include "data/image_set.h"

#define ADDRESS(format) &dataset_##format,
const struct dataset_format *const dataset_formats[] = {DATASET_FORMATS(ADDRESS) NULL};

static enum retort_status find_format(const char *name, size_t length,
                                      const struct dataset_format **format)
{
    char known[256] = "";
    for (int i = 0; dataset_formats[i]; i++) {
        const char *candidate = dataset_formats[i]->name;
        if (strlen(candidate) == length && strncmp(candidate, name, length) == 0) {
            *format = dataset_formats[i];
            return RETORT_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", candidate);
    }
    return fail(RETORT_INVALID, "\"%.*s\" is not a data set; known: %s", (int)length, name, known);
}

/* The place to read, a new string: given with a ~/ expanded, or the format's default. */
static enum retort_status find_path(const struct dataset_format *format, const char *given,
                                    char **path)
{
    const char *chosen = given[0] ? given : format->default_path;
    if (!chosen)
        return fail(RETORT_INVALID, "%s has no default place: write %s:PATH", format->name,
                    format->name);
    if (!given[0] && !file_exists(chosen))
        return fail(RETORT_IO, "%s: nothing at its default place %s (%s): write %s:PATH",
                    format->name, chosen, format->help, format->name);
    *path = file_join(chosen, "");
    return *path ? RETORT_OK : fail(RETORT_MEMORY, "%s: out of memory", chosen);
}

static enum retort_status check_limit(const char *name, int limit)
{
    return limit >= 0 ? RETORT_OK
                      : fail(RETORT_INVALID, "%s: %d images per class found, 0 or more wanted",
                             name, limit);
}

enum retort_status dataset_open(const char *specification, const struct dataset_options *options,
                                struct dataset *dataset)
{
    size_t length = strcspn(specification, ":");
    const char *given = specification + length + (specification[length] == ':');
    const struct dataset_format *format = NULL;
    TRY(find_format(specification, length, &format));
    TRY(check_limit("limit", options->limit));
    TRY(check_limit("test_limit", options->test_limit));

    struct dataset made = {0};
    char *path = NULL;
    enum retort_status status;
    TRY_DONE(find_path(format, given, &path));
    made.name = strdup(format->name);
    if (!made.name) {
        status = fail(RETORT_MEMORY, "%s: out of memory", path);
        goto done;
    }
    TRY_DONE(format->open(path, &made));
    TRY_DONE(image_set_limit(&made.train, made.classes, options->limit));
    TRY_DONE(image_set_limit(&made.test, made.classes, options->test_limit));
    *dataset = made;
    made = (struct dataset){0};
done:
    free(path);
    dataset_release(&made);
    return status;
}

enum retort_status dataset_make_classes(struct dataset *dataset, int classes)
{
    void *names;
    TRY(memory_zeroed((size_t)classes, sizeof(*dataset->class_names), &names));
    dataset->class_names = names;
    dataset->classes = classes;
    return RETORT_OK;
}

enum retort_status dataset_name_class(struct dataset *dataset, int label, const char *text,
                                      size_t length)
{
    dataset->class_names[label] = strndup(text, length);
    return dataset->class_names[label] ? RETORT_OK
                                       : fail(RETORT_MEMORY, "class names: out of memory");
}

void dataset_release(struct dataset *dataset)
{
    for (int i = 0; i < dataset->classes; i++)
        free(dataset->class_names[i]);
    free(dataset->class_names);
    free(dataset->name);
    image_set_release(&dataset->train);
    image_set_release(&dataset->test);
    *dataset = (struct dataset){0};
}
