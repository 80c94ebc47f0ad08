/* exhibits_facts.c - what is added to run.json for those who look at it: numbers and names. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/exhibits.h"

static json_t *facts_of(struct exhibits *exhibits, const char *name)
{
    if (!exhibits->facts)
        exhibits->facts = json_object();
    json_t *found = json_object_get(exhibits->facts, name);
    if (!found && exhibits->facts) {
        json_object_set_new(exhibits->facts, name, json_object());
        found = json_object_get(exhibits->facts, name);
    }
    return found;
}

static enum retort_status note(struct exhibits *exhibits, const char *name, const char *key,
                               json_t *value)
{
    if (json_object_set_new(facts_of(exhibits, name), key, value))
        return fail(RETORT_MEMORY, "out of memory for the summary");
    return RETORT_OK;
}

/* Percents; null where the test set has no image of the class. */
static json_t *percents(const struct class_count *counts, int classes)
{
    json_t *list = json_array();
    for (int c = 0; list && c < classes; c++)
        json_array_append_new(list, counts[c].images ? json_real(100 * (double)counts[c].right /
                                                                 (double)counts[c].images)
                                                     : json_null());
    return list;
}

enum retort_status exhibits_evaluate(struct exhibits *exhibits, const struct experiment *experiment,
                                     const char *part, int batch, const struct model *model,
                                     struct evaluation *evaluation)
{
    const int classes = experiment->dataset.classes;
    struct class_count *counts;
    TRY(memory_zeroed((size_t)classes, sizeof(*counts), (void **)&counts));
    enum retort_status status =
        evaluate_classes(model, &experiment->dataset, batch,
                         (enum precision)experiment->recipe.precision, counts, evaluation);
    if (status == RETORT_OK)
        status = note(exhibits, part, "per_class", percents(counts, classes));
    free(counts);
    return status;
}

/* The epochs' seconds of each part that was trained here. */
static enum retort_status note_times(struct exhibits *exhibits, const struct metrics *metrics)
{
    size_t i;
    const json_t *line;
    json_array_foreach(metrics->lines, i, line)
    {
        const char *part = json_string_value(json_object_get(line, "part"));
        if (!part)
            continue;
        const double before = json_real_value(
            json_object_get(json_object_get(exhibits->facts, part), "training_seconds"));
        TRY(note(exhibits, part, "training_seconds",
                 json_real(before + json_number_value(json_object_get(line, "seconds")))));
    }
    return RETORT_OK;
}

/* The processor's name as Linux tells it; not every architecture has one. */
static void read_processor(char *name, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            char *text = strchr(line, ':') + 1;
            snprintf(name, size, "%s", text + strspn(text, " \t"));
            name[strcspn(name, "\n")] = '\0';
            break;
        }
    if (file)
        fclose(file);
}

static enum retort_status note_machine(struct exhibits *exhibits,
                                       const struct experiment *experiment)
{
    char processor[200];
    read_processor(processor, sizeof(processor));
    return note(exhibits, "run", "machine",
                json_pack("{s:s, s:i, s:i, s:s}", "processor", processor, "cores",
                          omp_get_num_procs(), "threads", omp_get_max_threads(), "precision",
                          experiment->recipe.precision == PRECISION_BF16 ? "bf16" : "f32"));
}

static enum retort_status note_data(struct exhibits *exhibits, const struct dataset *dataset)
{
    json_t *names = json_array();
    for (int c = 0; names && c < dataset->classes; c++)
        json_array_append_new(names, json_string(dataset->class_names[c]));
    TRY(note(exhibits, "run", "class_names", names));
    TRY(note(exhibits, "run", "skipped", json_integer(dataset->skipped.count + dataset->left_out)));
    TRY(note(exhibits, "run", "train_images", json_integer(dataset->train.count)));
    TRY(note(exhibits, "run", "val_images", json_integer(dataset->val.count)));
    return note(exhibits, "run", "test_images", json_integer(dataset->test.count));
}

enum retort_status exhibits_note_run(struct exhibits *exhibits, const struct experiment *experiment,
                                     const struct metrics *metrics)
{
    TRY(note_times(exhibits, metrics));
    TRY(note_machine(exhibits, experiment));
    return note_data(exhibits, &experiment->dataset);
}

void exhibits_release(struct exhibits *exhibits)
{
    json_decref(exhibits->facts);
    *exhibits = (struct exhibits){0};
}
