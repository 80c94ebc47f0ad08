/* state.c - save and restore a part of a run. */
#include "train/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"

#define STATE_FORMAT "retort.state"

static char *state_path(const char *folder)
{
    return file_join(folder, "state/current.safetensors");
}

enum retort_status velocity_create(const struct graph *graph, float ***velocity)
{
    size_t numbers = 0, count = (size_t)graph->parameter_count;
    for (int i = 0; i < graph->parameter_count; i++)
        numbers +=
            parameter_trains(&graph->parameters[i]) ? parameter_count(&graph->parameters[i]) : 0;
    float **made;
    TRY(memory_zeroed(1, count * sizeof(*made) + numbers * sizeof(float), (void **)&made));
    float *next = (float *)(made + count);
    for (int i = 0; i < graph->parameter_count; i++)
        if (parameter_trains(&graph->parameters[i])) {
            made[i] = next;
            next += parameter_count(&graph->parameters[i]);
        }
    *velocity = made;
    return RETORT_OK;
}

void velocity_destroy(float **velocity)
{
    free(velocity);
}

static struct safetensor tensor_of(struct arena *arena, const char *prefix,
                                   const struct parameter *parameter, const float *data)
{
    struct safetensor tensor = {.name = arena_format(arena, "%s.%s", prefix, parameter->name),
                                .type = SAFETENSORS_F32,
                                .rank = parameter->rank,
                                .data = data,
                                .bytes = parameter_count(parameter) * sizeof(float)};
    for (int i = 0; i < parameter->rank; i++)
        tensor.dims[i] = parameter->dims[i];
    return tensor;
}

static enum retort_status write_state(const char *path, const char *part, int epochs,
                                      const struct model *model, float *const *velocity)
{
    const struct graph *graph = &model->graph;
    struct arena arena = {0};
    struct safetensor *tensors;
    enum retort_status status;
    int count = 0;
    json_t *metadata = NULL;
    TRY_DONE(arena_take(&arena, 2 * (size_t)graph->parameter_count * sizeof(*tensors),
                        (void **)&tensors));
    for (int i = 0; i < graph->parameter_count; i++) {
        tensors[count++] = tensor_of(&arena, "model", &graph->parameters[i], model->values[i]);
        if (velocity[i])
            tensors[count++] = tensor_of(&arena, "velocity", &graph->parameters[i], velocity[i]);
    }
    for (int i = 0; i < count; i++)
        if (!tensors[i].name)
            TRY_DONE(fail(RETORT_MEMORY, "%s: out of memory", path));
    metadata = json_pack("{s:s, s:s, s:o, s:s}", "format", STATE_FORMAT, "part", part, "epochs",
                         json_sprintf("%d", epochs), "network", graph->network);
    if (!metadata)
        TRY_DONE(fail(RETORT_MEMORY, "%s: out of memory", path));
    status = safetensors_write(path, tensors, count, metadata);
done:
    json_decref(metadata);
    arena_release(&arena);
    return status;
}

enum retort_status state_save(const char *folder, const char *part, int epochs,
                              struct trainer *trainer, struct model *model)
{
    char *path = state_path(folder), *below = file_join(folder, "state");
    float **velocity = NULL;
    enum retort_status status = RETORT_OK;
    if (!path || !below)
        TRY_DONE(fail(RETORT_MEMORY, "out of memory for the state"));
    TRY_DONE(file_make_folder(below));
    TRY_DONE(trainer_store(trainer));
    TRY_DONE(velocity_create(&model->graph, &velocity));
    TRY_DONE(trainer_get_velocity(trainer, velocity));
    status = write_state(path, part, epochs, model, velocity);
done:
    velocity_destroy(velocity);
    free(path);
    free(below);
    return status;
}

static enum retort_status take(const struct safetensors *file, const char *path, const char *prefix,
                               const struct parameter *parameter, float *target)
{
    char name[512];
    snprintf(name, sizeof(name), "%s.%s", prefix, parameter->name);
    const struct safetensor *tensor = safetensors_find(file, name);
    size_t bytes = parameter_count(parameter) * sizeof(float);
    if (!tensor || tensor->type != SAFETENSORS_F32 || tensor->bytes != bytes)
        return fail(RETORT_FORMAT, "%s: %s: %s, %zu bytes of F32 wanted", path, name,
                    tensor ? "wrong type or size" : "not there", bytes);
    memcpy(target, tensor->data, bytes);
    return RETORT_OK;
}

static enum retort_status read_state(const struct safetensors *file, const char *path,
                                     const char *part, struct model *model, float *const *velocity,
                                     int *epochs)
{
    const char *format = safetensors_metadata(file, "format"),
               *of = safetensors_metadata(file, "part");
    const char *text = safetensors_metadata(file, "epochs"),
               *network = safetensors_metadata(file, "network");
    char *end = NULL;
    long count = text ? strtol(text, &end, 10) : -1;
    if (!format || strcmp(format, STATE_FORMAT) || !of || !network || !text || *end || count < 0 ||
        count > 1000000)
        return fail(RETORT_FORMAT, "%s: not a saved state of a run", path);
    *epochs = 0;
    if (strcmp(of, part))
        return RETORT_OK;
    if (strcmp(network, model->graph.network))
        return fail(RETORT_INVALID, "%s: holds %s, the recipe wants %s", path, network,
                    model->graph.network);
    for (int i = 0; i < model->graph.parameter_count; i++) {
        TRY(take(file, path, "model", &model->graph.parameters[i], model->values[i]));
        if (velocity[i])
            TRY(take(file, path, "velocity", &model->graph.parameters[i], velocity[i]));
    }
    *epochs = (int)count;
    return RETORT_OK;
}

enum retort_status state_load(const char *folder, const char *part, struct model *model,
                              float *const *velocity, int *epochs)
{
    struct safetensors file = {0};
    char *path = state_path(folder);
    enum retort_status status = RETORT_OK;
    if (!path)
        return fail(RETORT_MEMORY, "out of memory for the state");
    *epochs = 0;
    if (file_exists(path)) {
        status = safetensors_read(path, &file);
        if (status == RETORT_OK)
            status = read_state(&file, path, part, model, velocity, epochs);
        safetensors_release(&file);
    }
    free(path);
    return status;
}

enum retort_status state_remove(const char *folder)
{
    char *path = state_path(folder);
    if (!path)
        return fail(RETORT_MEMORY, "out of memory for the state");
    enum retort_status status = file_remove(path);
    free(path);
    return status;
}
