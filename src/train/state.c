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

/* "model" and "velocity" of the first network, "model2" of the second one. */
static const char *prefix_of(struct arena *arena, const char *what, int which)
{
    return which == 0 ? what : arena_format(arena, "%s%d", what, which + 1);
}

static enum retort_status list_tensors(struct arena *arena, struct model *const *models,
                                       float **const *velocities, int count,
                                       struct safetensor **tensors, int *tensor_count)
{
    size_t room = 0;
    *tensor_count = 0;
    for (int k = 0; k < count; k++)
        room += 2 * (size_t)models[k]->graph.parameter_count;
    TRY(arena_take(arena, room * sizeof(**tensors), (void **)tensors));
    for (int k = 0; k < count; k++) {
        const char *model = prefix_of(arena, "model", k),
                   *velocity = prefix_of(arena, "velocity", k);
        for (int i = 0; i < models[k]->graph.parameter_count; i++) {
            const struct parameter *parameter = &models[k]->graph.parameters[i];
            (*tensors)[(*tensor_count)++] =
                tensor_of(arena, model, parameter, models[k]->values[i]);
            if (velocities[k][i])
                (*tensors)[(*tensor_count)++] =
                    tensor_of(arena, velocity, parameter, velocities[k][i]);
        }
    }
    for (int i = 0; i < *tensor_count; i++)
        if (!(*tensors)[i].name)
            return fail(RETORT_MEMORY, "out of memory for the state");
    return RETORT_OK;
}

static enum retort_status write_state(const char *path, const char *part, int stage, int epochs,
                                      struct model *const *models, float **const *velocities,
                                      int count)
{
    struct arena arena = {0};
    struct safetensor *tensors;
    enum retort_status status;
    int tensor_count;
    json_t *metadata = NULL;
    TRY_DONE(list_tensors(&arena, models, velocities, count, &tensors, &tensor_count));
    metadata = json_pack("{s:s, s:s, s:o, s:o, s:s}", "format", STATE_FORMAT, "part", part, "stage",
                         json_sprintf("%d", stage), "epochs", json_sprintf("%d", epochs), "network",
                         models[0]->graph.network);
    if (!metadata)
        TRY_DONE(fail(RETORT_MEMORY, "%s: out of memory", path));
    status = safetensors_write(path, tensors, tensor_count, metadata);
done:
    json_decref(metadata);
    arena_release(&arena);
    return status;
}

enum retort_status state_save(const char *folder, const char *part, int stage, int epochs,
                              struct trainer *trainer, struct model *const *models, int count)
{
    char *path = state_path(folder), *below = file_join(folder, "state");
    float **velocities[MOST_PEERS] = {0};
    enum retort_status status = RETORT_OK;
    if (!path || !below)
        TRY_DONE(fail(RETORT_MEMORY, "out of memory for the state"));
    TRY_DONE(file_make_folder(below));
    TRY_DONE(trainer_store(trainer));
    for (int i = 0; i < count; i++) {
        TRY_DONE(velocity_create(&models[i]->graph, &velocities[i]));
        TRY_DONE(trainer_get_velocity(trainer, i, velocities[i]));
    }
    status = write_state(path, part, stage, epochs, models, velocities, count);
done:
    for (int i = 0; i < count; i++)
        velocity_destroy(velocities[i]);
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

/* A whole number from 0 to a million of the metadata, or -1. */
static long number_of(const struct safetensors *file, const char *key)
{
    const char *text = safetensors_metadata(file, key);
    char *end = NULL;
    long number = text && *text ? strtol(text, &end, 10) : -1;
    return end && !*end && number >= 0 && number <= 1000000 ? number : -1;
}

static enum retort_status open_state(const char *path, struct safetensors *file)
{
    TRY(safetensors_read(path, file));
    const char *format = safetensors_metadata(file, "format");
    if (format && strcmp(format, STATE_FORMAT) == 0 && safetensors_metadata(file, "part") &&
        safetensors_metadata(file, "network") && number_of(file, "stage") >= 0 &&
        number_of(file, "epochs") >= 0)
        return RETORT_OK;
    safetensors_release(file);
    return fail(RETORT_FORMAT, "%s: not a saved state of a run", path);
}

enum retort_status state_find(const char *folder, const char *part, int *stage, int *epochs)
{
    struct safetensors file = {0};
    char *path = state_path(folder);
    enum retort_status status = RETORT_OK;
    *stage = *epochs = 0;
    if (!path)
        return fail(RETORT_MEMORY, "out of memory for the state");
    if (file_exists(path))
        status = open_state(path, &file);
    if (status == RETORT_OK && file_exists(path) &&
        strcmp(safetensors_metadata(&file, "part"), part) == 0) {
        *stage = (int)number_of(&file, "stage");
        *epochs = (int)number_of(&file, "epochs");
    }
    safetensors_release(&file);
    free(path);
    return status;
}

static enum retort_status read_models(const struct safetensors *file, const char *path,
                                      struct model *const *models, float **const *velocities,
                                      int count, struct arena *arena)
{
    const char *network = safetensors_metadata(file, "network");
    if (strcmp(network, models[0]->graph.network))
        return fail(RETORT_INVALID, "%s: holds %s, the recipe wants %s", path, network,
                    models[0]->graph.network);
    for (int k = 0; k < count; k++) {
        const char *model = prefix_of(arena, "model", k),
                   *velocity = prefix_of(arena, "velocity", k);
        if (!model || !velocity)
            return fail(RETORT_MEMORY, "out of memory for the state");
        for (int i = 0; i < models[k]->graph.parameter_count; i++) {
            const struct parameter *parameter = &models[k]->graph.parameters[i];
            TRY(take(file, path, model, parameter, models[k]->values[i]));
            if (velocities[k][i])
                TRY(take(file, path, velocity, parameter, velocities[k][i]));
        }
    }
    return RETORT_OK;
}

enum retort_status state_load(const char *folder, struct model *const *models,
                              float **const *velocities, int count)
{
    struct safetensors file = {0};
    struct arena arena = {0};
    char *path = state_path(folder);
    if (!path)
        return fail(RETORT_MEMORY, "out of memory for the state");
    enum retort_status status = open_state(path, &file);
    if (status == RETORT_OK)
        status = read_models(&file, path, models, velocities, count, &arena);
    safetensors_release(&file);
    arena_release(&arena);
    free(path);
    return status;
}

enum retort_status state_remove(const char *folder)
{
    static const char *const names[] = {"state/current.safetensors", "state/teachers.cache",
                                        "state/maps.cache"};
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < 3 && status == RETORT_OK; i++) {
        char *path = file_join(folder, names[i]);
        status = path ? file_remove(path) : fail(RETORT_MEMORY, "out of memory for the state");
        free(path);
    }
    return status;
}
