/* state.c - save and restore a part of a run. */
#include "train/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/safetensors.h"

#define STATE_FORMAT "retort.state"
#define CURRENT      "state/current.safetensors"
#define PREVIOUS     "state/previous.safetensors"
#define NEXT         "state/next.safetensors"

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

/* ---- the means of an epoch that goes on ---- */

static json_t *means_json(const struct training_report *report)
{
    json_t *losses = json_object();
    for (int kind = 0; losses && kind < LOSS_COUNT; kind++)
        json_object_set_new(losses, loss_of((enum loss_kind)kind)->name,
                            json_pack("[f, f, f, f]", report->value.raw[kind],
                                      report->value.weighted[kind], report->norms.logits[kind],
                                      report->norms.taps[kind]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:f, s:f, s:f, s:f, s:f, s:o}", "step",
                     (json_int_t)report->step, "steps", (json_int_t)report->steps, "skipped",
                     (json_int_t)report->skipped, "clipped", (json_int_t)report->clipped, "images",
                     (json_int_t)report->images, "measured", report->measured, "loss",
                     report->value.total, "accuracy", report->accuracy, "rate", report->rate,
                     "seconds", report->seconds, "waited", report->waited, "losses", losses);
}

static bool means_parse(const char *text, int epoch, struct training_report *report)
{
    json_t *means = json_loads(text, 0, NULL);
    json_int_t step = 0, steps = 0, skipped = 0, clipped = 0, images = 0;
    struct training_report made = {.epoch = epoch, .val_top1 = -1};
    bool good = json_unpack(means, "{s:I, s:I, s:I, s?I, s:I, s:i, s:F, s:F, s:F, s:F, s:F}",
                            "step", &step, "steps", &steps, "skipped", &skipped, "clipped",
                            &clipped, "images", &images, "measured", &made.measured, "loss",
                            &made.value.total, "accuracy", &made.accuracy, "rate", &made.rate,
                            "seconds", &made.seconds, "waited", &made.waited) == 0;
    for (int kind = 0; good && kind < LOSS_COUNT; kind++) {
        json_t *loss =
            json_object_get(json_object_get(means, "losses"), loss_of((enum loss_kind)kind)->name);
        good = !loss ||
               json_unpack(loss, "[F, F, F, F]", &made.value.raw[kind], &made.value.weighted[kind],
                           &made.norms.logits[kind], &made.norms.taps[kind]) == 0;
    }
    made.step = (long)step;
    made.steps = (long)steps;
    made.skipped = (long)skipped;
    made.clipped = (long)clipped;
    made.images = (long)images;
    *report = made;
    json_decref(means);
    return good && step > 0 && step <= steps && skipped >= 0 && skipped <= step && clipped >= 0 &&
           clipped <= step;
}

/* ---- writing ---- */

/* Of everything that is in the file but the checksum itself. */
static enum retort_status find_checksum(const struct safetensor *tensors, int count,
                                        const json_t *metadata, char text[17])
{
    uint64_t hash = HASH_START;
    json_t *rest = json_deep_copy(metadata);
    json_object_del(rest, "checksum");
    char *words = rest ? json_dumps(rest, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(rest);
    if (!words)
        return fail(RETORT_MEMORY, "out of memory for the state");
    hash = hash_bytes(hash, words, strlen(words));
    free(words);
    for (int i = 0; i < count; i++) {
        hash = hash_bytes(hash, tensors[i].name, strlen(tensors[i].name));
        hash = hash_bytes(hash, &tensors[i].type, sizeof(tensors[i].type));
        hash = hash_bytes(hash, tensors[i].dims, (size_t)tensors[i].rank * sizeof(int64_t));
        hash = hash_bytes(hash, tensors[i].data, tensors[i].bytes);
    }
    snprintf(text, 17, "%016" PRIx64, hash);
    return RETORT_OK;
}

static json_t *metadata_of(const char *part, const struct state_place *place, const char *network)
{
    json_t *metadata = json_pack("{s:s, s:s, s:o, s:o, s:s}", "format", STATE_FORMAT, "part", part,
                                 "stage", json_sprintf("%d", place->stage), "epochs",
                                 json_sprintf("%d", place->epochs), "network", network);
    json_t *means = place->report.step > 0 ? means_json(&place->report) : NULL;
    char *text = means ? json_dumps(means, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(means);
    if (metadata && place->report.step > 0 &&
        (!text || json_object_set_new(metadata, "epoch", json_string(text)))) {
        json_decref(metadata);
        metadata = NULL;
    }
    free(text);
    return metadata;
}

static enum retort_status write_state(const char *path, const char *part,
                                      const struct state_place *place, struct model *const *models,
                                      float **const *velocities, int count)
{
    struct arena arena = {0};
    struct safetensor *tensors;
    enum retort_status status;
    int tensor_count;
    char checksum[17];
    json_t *metadata = metadata_of(part, place, models[0]->graph.network);
    if (!metadata)
        TRY_DONE(fail(RETORT_MEMORY, "%s: out of memory", path));
    TRY_DONE(list_tensors(&arena, models, velocities, count, &tensors, &tensor_count));
    TRY_DONE(find_checksum(tensors, tensor_count, metadata, checksum));
    if (json_object_set_new(metadata, "checksum", json_string(checksum)))
        TRY_DONE(fail(RETORT_MEMORY, "%s: out of memory", path));
    status = safetensors_write(path, tensors, tensor_count, metadata);
done:
    json_decref(metadata);
    arena_release(&arena);
    return status;
}

/* next becomes current, and current previous: at every moment one of them is whole. */
static enum retort_status move_up(const char *folder)
{
    char *next = file_join(folder, NEXT), *current = file_join(folder, CURRENT),
         *previous = file_join(folder, PREVIOUS);
    enum retort_status status =
        next && current && previous ? RETORT_OK : fail(RETORT_MEMORY, "out of memory");
    if (status == RETORT_OK && file_exists(current))
        status = file_rename(current, previous);
    if (status == RETORT_OK)
        status = file_rename(next, current);
    free(next);
    free(current);
    free(previous);
    return status;
}

enum retort_status state_save(const char *folder, const char *part, const struct state_place *place,
                              struct trainer *trainer, struct model *const *models, int count)
{
    char *path = file_join(folder, NEXT), *below = file_join(folder, "state");
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
    TRY_DONE(write_state(path, part, place, models, velocities, count));
    status = move_up(folder);
done:
    for (int i = 0; i < count; i++)
        velocity_destroy(velocities[i]);
    free(path);
    free(below);
    return status;
}

/* ---- reading ---- */

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

/* Whole, and a state. */
static enum retort_status open_state(const char *path, struct safetensors *file)
{
    char checksum[17];
    TRY(safetensors_read(path, file));
    const char *format = safetensors_metadata(file, "format"),
               *there = safetensors_metadata(file, "checksum");
    enum retort_status status = find_checksum(file->tensors, file->count, file->metadata, checksum);
    if (status == RETORT_OK && (!format || strcmp(format, STATE_FORMAT) != 0))
        status = fail(RETORT_FORMAT, "%s: not a saved state of a run", path);
    if (status == RETORT_OK && (!there || strcmp(there, checksum) != 0))
        status = fail(RETORT_FORMAT, "%s: damaged: checksum %s, %s was written", path, checksum,
                      there ? there : "none");
    if (status == RETORT_OK &&
        (!safetensors_metadata(file, "part") || !safetensors_metadata(file, "network") ||
         number_of(file, "stage") < 0 || number_of(file, "epochs") < 0))
        status = fail(RETORT_FORMAT, "%s: not a saved state of a run", path);
    if (status != RETORT_OK)
        safetensors_release(file);
    return status;
}

/* Where the part stands by the state of this name. */
static enum retort_status find_in(const char *folder, const char *name, const char *part,
                                  struct state_place *place)
{
    struct safetensors file = {0};
    char *path = file_join(folder, name);
    if (!path)
        return fail(RETORT_MEMORY, "out of memory for the state");
    enum retort_status status = file_exists(path) ? open_state(path, &file) : RETORT_OK;
    if (status == RETORT_OK && file.metadata &&
        strcmp(safetensors_metadata(&file, "part"), part) == 0) {
        const char *epoch = safetensors_metadata(&file, "epoch");
        place->stage = (int)number_of(&file, "stage");
        place->epochs = (int)number_of(&file, "epochs");
        if (epoch && !means_parse(epoch, place->epochs, &place->report))
            status = fail(RETORT_FORMAT, "%s: epoch: %s found", path, epoch);
    }
    safetensors_release(&file);
    free(path);
    return status;
}

static bool is_there(const char *folder, const char *name)
{
    char *path = file_join(folder, name);
    const bool there = path && file_exists(path);
    free(path);
    return there;
}

enum retort_status state_find(const char *folder, const char *part, struct state_place *place)
{
    char first[256];
    const bool current = is_there(folder, CURRENT), previous = is_there(folder, PREVIOUS);
    *place = (struct state_place){0};
    enum retort_status status = current ? find_in(folder, CURRENT, part, place) : RETORT_OK;
    if (!previous || (current && status != RETORT_FORMAT))
        return status;
    snprintf(first, sizeof(first), "%s", current ? retort_message() : "");
    *place = (struct state_place){0};
    status = find_in(folder, PREVIOUS, part, place);
    place->previous = true;
    if (status == RETORT_FORMAT && current) {
        char second[256];
        snprintf(second, sizeof(second), "%s", retort_message());
        return fail(status, "%s; %s", first, second);
    }
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

enum retort_status state_load(const char *folder, const struct state_place *place,
                              struct model *const *models, float **const *velocities, int count)
{
    struct safetensors file = {0};
    struct arena arena = {0};
    char *path = file_join(folder, place->previous ? PREVIOUS : CURRENT);
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
    static const char *const names[] = {NEXT, PREVIOUS, CURRENT, "state/teachers.cache",
                                        "state/maps.cache"};
    enum retort_status status = RETORT_OK;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && status == RETORT_OK; i++) {
        char *path = file_join(folder, names[i]);
        status = path ? file_remove(path) : fail(RETORT_MEMORY, "out of memory for the state");
        free(path);
    }
    return status;
}
