/* model.c - a network with its numbers: made, initialised, copied, fingerprinted.
 *
 * Parameters stand one by one in plain layout, as files hold them; an executor copies them into the
 * layout of its kernels and back. */
#include "nn/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"

static void free_values(const struct graph *graph, float **values)
{
    for (int i = 0; values && i < graph->parameter_count; i++)
        free(values[i]);
    free(values);
}

/* One zeroed block per parameter. */
static enum retort_status make_values(const struct graph *graph, float ***values)
{
    void *list;
    TRY(memory_zeroed((size_t)graph->parameter_count, sizeof(float *), &list));
    float **made = list;
    for (int i = 0; i < graph->parameter_count; i++) {
        void *block;
        size_t bytes = parameter_count(&graph->parameters[i]) * sizeof(float);
        if (memory_aligned(bytes, &block) != RETORT_OK) {
            free_values(graph, made);
            return fail_in(RETORT_MEMORY, "%s", graph->parameters[i].name);
        }
        made[i] = block;
    }
    *values = made;
    return RETORT_OK;
}

enum retort_status model_create(struct graph *graph, struct model *model)
{
    struct model made = {0};
    if (graph->input.c > MODEL_CHANNELS)
        return fail(RETORT_INVALID, "%s: %d input channels, at most %d are supported",
                    graph->network, graph->input.c, MODEL_CHANNELS);
    TRY(make_values(graph, &made.values));
    made.provenance = json_object();
    if (!made.provenance) {
        free_values(graph, made.values);
        return fail(RETORT_MEMORY, "out of memory");
    }
    for (int i = 0; i < MODEL_CHANNELS; i++)
        made.std[i] = 1;
    made.graph = *graph;
    *graph = (struct graph){0};
    *model = made;
    return RETORT_OK;
}

static void fill(float *values, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

/* He et al., "Delving deep into rectifiers", ICCV 2015, equation 10. */
static void fill_he_normal(float *values, size_t count, int fan_in,
                           const struct random_stream *stream)
{
    double deviation = sqrt(2.0 / fan_in);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(deviation * random_normal(stream, i));
}

void model_initialise(struct model *model, uint64_t seed)
{
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *parameter = &model->graph.parameters[i];
        size_t count = parameter_count(parameter);
        struct random_stream stream = random_stream(seed, RANDOM_WEIGHTS, (uint32_t)i, 0);
        switch (parameter->role) {
        case PARAMETER_WEIGHT:
            fill_he_normal(model->values[i], count, parameter->fan_in, &stream);
            break;
        case PARAMETER_SCALE:
        case PARAMETER_RUNNING_VAR:
            fill(model->values[i], count, 1);
            break;
        case PARAMETER_BIAS:
        case PARAMETER_SHIFT:
        case PARAMETER_RUNNING_MEAN:
            fill(model->values[i], count, 0);
            break;
        }
    }
}

static void free_names(char **names, int count)
{
    for (int i = 0; names && i < count; i++)
        free(names[i]);
    free(names);
}

enum retort_status model_name_classes(struct model *model, const char *const *names)
{
    int count = model->graph.classes;
    void *list = NULL;
    if (names)
        TRY(memory_zeroed((size_t)count, sizeof(char *), &list));
    char **copies = list;
    for (int i = 0; names && i < count; i++) {
        copies[i] = strdup(names[i]);
        if (!copies[i]) {
            free_names(copies, count);
            return fail(RETORT_MEMORY, "out of memory");
        }
    }
    free_names(model->class_names, count);
    model->class_names = copies;
    return RETORT_OK;
}

/* The file's form of a graph is also the way to copy it: one description of what a graph holds. */
static enum retort_status copy_graph(const struct graph *graph, struct graph *copy)
{
    json_t *json = graph_json(graph);
    if (!json)
        return fail(RETORT_MEMORY, "out of memory");
    enum retort_status status = graph_from_json(json, graph->network, copy);
    json_decref(json);
    return status;
}

enum retort_status model_copy(const struct model *model, struct model *copy)
{
    struct graph graph;
    struct model made;
    TRY(copy_graph(&model->graph, &graph));
    enum retort_status status = model_create(&graph, &made);
    if (status != RETORT_OK) {
        graph_release(&graph);
        return status;
    }
    for (int i = 0; i < made.graph.parameter_count; i++)
        memcpy(made.values[i], model->values[i],
               parameter_count(&made.graph.parameters[i]) * sizeof(float));
    memcpy(made.mean, model->mean, sizeof(made.mean));
    memcpy(made.std, model->std, sizeof(made.std));
    status = model_name_classes(&made, (const char *const *)model->class_names);
    if (status == RETORT_OK && json_object_update(made.provenance, model->provenance))
        status = fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK)
        *copy = made;
    else
        model_release(&made);
    return status;
}

void model_release(struct model *model)
{
    if (!model)
        return;
    free_values(&model->graph, model->values);
    free_names(model->class_names, model->graph.classes);
    json_decref(model->provenance);
    graph_release(&model->graph);
    *model = (struct model){0};
}

uint64_t model_hash(const struct model *model)
{
    uint64_t hash = HASH_START;
    for (int i = 0; i < model->graph.parameter_count; i++)
        hash = hash_bytes(hash, model->values[i],
                          parameter_count(&model->graph.parameters[i]) * sizeof(float));
    return hash;
}
