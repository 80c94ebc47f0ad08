/* model_file.c - models as safetensors files.
 *
 * Everything but the numbers stands in the metadata: format, version, network, graph,
 * normalisation, class_names (when known) and provenance, the last four as JSON. A file is read
 * whole and checked before a model is made, so memory is asked for only after the file has shown
 * tensors of that size. The same checks stand before writing: what could not be read is not
 * written. */
#include "nn/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/safetensors.h"

static const char format[] = "retort.model", version[] = "1";

enum { SHAPE_TEXT = 96 };

/* ---- checks on both ways ---- */

/* Finite, and variances not negative. name is the parameter's. */
static enum retort_status check_values(const struct parameter *parameter, const float *values)
{
    size_t count = parameter_count(parameter);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return fail(RETORT_FORMAT, "tensor \"%s\": %g found at %zu, a finite number was wanted",
                        parameter->name, values[i], i);
        if (parameter->role == PARAMETER_RUNNING_VAR && values[i] < 0)
            return fail(RETORT_FORMAT, "tensor \"%s\": %g found at %zu, a variance is 0 or more",
                        parameter->name, values[i], i);
    }
    return RETORT_OK;
}

static enum retort_status check_normalisation(const struct model *model)
{
    for (int i = 0; i < model->graph.input.c; i++) {
        if (!isfinite(model->mean[i]))
            return fail(RETORT_FORMAT, "normalisation: mean[%d] is %g, a finite number was wanted",
                        i, model->mean[i]);
        if (!isfinite(model->std[i]) || model->std[i] <= 0)
            return fail(RETORT_FORMAT, "normalisation: std[%d] is %g, a number above 0 was wanted",
                        i, model->std[i]);
    }
    return RETORT_OK;
}

/* ---- writing ---- */

/* json is taken over; NULL stands for memory that ran out while it was made. */
static enum retort_status set_json(json_t *metadata, const char *key, json_t *json, size_t flags)
{
    char *text = json ? json_dumps(json, flags | JSON_COMPACT) : NULL;
    json_decref(json);
    int failed = !text || json_object_set_new(metadata, key, json_string(text));
    free(text);
    return failed ? fail(RETORT_MEMORY, "out of memory") : RETORT_OK;
}

static json_t *numbers_json(const float *numbers, int count)
{
    json_t *list = json_array();
    for (int i = 0; list && i < count; i++)
        if (json_array_append_new(list, json_real(numbers[i]))) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static enum retort_status set_class_names(json_t *metadata, char *const *names, int count)
{
    json_t *list = json_array();
    for (int i = 0; list && i < count; i++)
        if (json_array_append_new(list, json_string(names[i]))) {
            json_decref(list);
            return fail(RETORT_INVALID, "class name %d is no UTF-8 text, or memory is out", i);
        }
    return set_json(metadata, "class_names", list, 0);
}

static enum retort_status fill_metadata(const struct model *model, json_t *metadata)
{
    const struct graph *graph = &model->graph;
    if (json_object_set_new(metadata, "format", json_string(format)) ||
        json_object_set_new(metadata, "version", json_string(version)) ||
        json_object_set_new(metadata, "network", json_string(graph->network)))
        return fail(RETORT_MEMORY, "out of memory");
    TRY(set_json(metadata, "graph", graph_json(graph), 0));
    /* Nine digits bring every float back. */
    TRY(set_json(metadata, "normalisation",
                 json_pack("{s:o, s:o}", "mean", numbers_json(model->mean, graph->input.c), "std",
                           numbers_json(model->std, graph->input.c)),
                 JSON_REAL_PRECISION(9)));
    if (model->class_names)
        TRY(set_class_names(metadata, model->class_names, graph->classes));
    return set_json(metadata, "provenance", json_incref(model->provenance), JSON_SORT_KEYS);
}

static enum retort_status check_model(const struct model *model)
{
    TRY(check_normalisation(model));
    TRY(json_check_texts("provenance", model->provenance));
    for (int i = 0; i < model->graph.parameter_count; i++)
        TRY(check_values(&model->graph.parameters[i], model->values[i]));
    return RETORT_OK;
}

static void list_tensors(const struct model *model, struct safetensor *tensors)
{
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *parameter = &model->graph.parameters[i];
        tensors[i] = (struct safetensor){.name = parameter->name,
                                         .type = SAFETENSORS_F32,
                                         .rank = parameter->rank,
                                         .data = model->values[i],
                                         .bytes = parameter_count(parameter) * sizeof(float)};
        for (int k = 0; k < parameter->rank; k++)
            tensors[i].dims[k] = parameter->dims[k];
    }
}

enum retort_status model_save(const struct model *model, const char *path)
{
    int count = model->graph.parameter_count;
    void *tensors = NULL;
    if (check_model(model) != RETORT_OK)
        return fail(RETORT_INVALID, "%s: not written: %s", path, retort_message());
    json_t *metadata = json_object();
    enum retort_status status =
        metadata ? fill_metadata(model, metadata) : fail(RETORT_MEMORY, "out of memory");
    if (status != RETORT_OK)
        status = fail_in(status, "%s", path);
    if (status == RETORT_OK)
        status = memory_zeroed((size_t)count, sizeof(struct safetensor), &tensors);
    if (status == RETORT_OK) {
        list_tensors(model, tensors);
        status = safetensors_write(path, tensors, count, metadata);
    }
    free(tensors);
    json_decref(metadata);
    return status;
}

/* ---- reading: the metadata ---- */

static enum retort_status check_format(const struct safetensors *file)
{
    const char *found = safetensors_metadata(file, "format");
    const char *written = safetensors_metadata(file, "version");
    if (!found)
        return fail(RETORT_FORMAT,
                    "no retort model but a safetensors file with no \"format\" in its metadata "
                    "(%d tensors; the first is \"%.60s\")",
                    file->count, file->count ? file->tensors[0].name : "");
    if (strcmp(found, format) != 0)
        return fail(RETORT_FORMAT,
                    "no retort model but a safetensors file of format \"%.40s\", \"%s\" was wanted",
                    found, format);
    if (!written || strcmp(written, version) != 0)
        return fail(RETORT_FORMAT, "model version %.20s found, this program reads version %s",
                    written ? written : "(none)", version);
    return RETORT_OK;
}

/* The JSON in a field of the metadata; the caller owns it. */
static enum retort_status load_json(const struct safetensors *file, const char *key, json_t **json)
{
    const char *text = safetensors_metadata(file, key);
    if (!text)
        return fail(RETORT_FORMAT, "the metadata has no \"%s\"", key);
    return json_parse(key, text, strlen(text), json);
}

static enum retort_status load_graph(const struct safetensors *file, struct graph *graph)
{
    json_t *json;
    struct graph made;
    TRY(load_json(file, "graph", &json));
    enum retort_status status = graph_from_json(json, "metadata", &made);
    json_decref(json);
    TRY(status);
    const char *network = safetensors_metadata(file, "network");
    if (!network || strcmp(network, made.network) != 0) {
        status = fail(RETORT_FORMAT, "network \"%.80s\" found, its graph is \"%.80s\"",
                      network ? network : "", made.network);
        graph_release(&made);
        return status;
    }
    *graph = made;
    return RETORT_OK;
}

static enum retort_status parse_numbers(const json_t *list, const char *name, int count,
                                        float *numbers)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)count)
        return fail(RETORT_FORMAT, "%s is no list of %d numbers", name, count);
    for (int i = 0; i < count; i++) {
        const json_t *number = json_array_get(list, (size_t)i);
        if (!json_is_number(number))
            return fail(RETORT_FORMAT, "%s[%d] is no number", name, i);
        numbers[i] = (float)json_number_value(number);
    }
    return RETORT_OK;
}

static enum retort_status load_normalisation(const struct safetensors *file, struct model *model)
{
    json_t *json;
    int channels = model->graph.input.c;
    TRY(load_json(file, "normalisation", &json));
    enum retort_status status =
        json_object_size(json) == 2 ? RETORT_OK : fail(RETORT_FORMAT, "mean and std were wanted");
    if (status == RETORT_OK)
        status = parse_numbers(json_object_get(json, "mean"), "mean", channels, model->mean);
    if (status == RETORT_OK)
        status = parse_numbers(json_object_get(json, "std"), "std", channels, model->std);
    json_decref(json);
    return status == RETORT_OK ? check_normalisation(model) : fail_in(status, "normalisation");
}

static enum retort_status parse_class_names(const json_t *json, struct model *model)
{
    int classes = model->graph.classes;
    if (!json_is_array(json) || json_array_size(json) != (size_t)classes)
        return fail(RETORT_FORMAT, "class_names: %zu found, the network has %d classes",
                    json_array_size(json), classes);
    void *list;
    TRY(memory_zeroed((size_t)classes, sizeof(char *), &list));
    const char **names = list;
    enum retort_status status = RETORT_OK;
    for (int i = 0; i < classes && status == RETORT_OK; i++) {
        names[i] = json_string_value(json_array_get(json, (size_t)i));
        if (!names[i])
            status = fail(RETORT_FORMAT, "class_names[%d] is no text", i);
    }
    if (status == RETORT_OK)
        status = model_name_classes(model, names);
    free(list);
    return status;
}

static enum retort_status load_class_names(const struct safetensors *file, struct model *model)
{
    json_t *json;
    if (!safetensors_metadata(file, "class_names"))
        return RETORT_OK;
    TRY(load_json(file, "class_names", &json));
    enum retort_status status = parse_class_names(json, model);
    json_decref(json);
    return status;
}

static enum retort_status load_provenance(const struct safetensors *file, struct model *model)
{
    json_t *json;
    TRY(load_json(file, "provenance", &json));
    enum retort_status status = json_check_texts("provenance", json);
    if (status == RETORT_OK) {
        json_decref(model->provenance);
        model->provenance = json_incref(json);
    }
    json_decref(json);
    return status;
}

/* ---- reading: the tensors ---- */

static void describe(enum safetensors_type type, int rank, const int64_t *dims,
                     char text[SHAPE_TEXT])
{
    int used =
        snprintf(text, SHAPE_TEXT, "%s %s", safetensors_type_name(type), rank ? "" : "scalar");
    for (int i = 0; i < rank && used < SHAPE_TEXT; i++)
        used += snprintf(text + used, (size_t)(SHAPE_TEXT - used), i ? "x%lld" : "%lld",
                         (long long)dims[i]);
}

static enum retort_status check_tensor(const struct safetensors *file,
                                       const struct parameter *parameter)
{
    const struct safetensor *tensor = safetensors_find(file, parameter->name);
    if (!tensor)
        return fail(RETORT_FORMAT, "tensor \"%s\" is missing", parameter->name);
    int64_t dims[4] = {0};
    for (int i = 0; i < parameter->rank; i++)
        dims[i] = parameter->dims[i];
    if (tensor->type != SAFETENSORS_F32 || tensor->rank != parameter->rank ||
        memcmp(tensor->dims, dims, (size_t)parameter->rank * sizeof(dims[0])) != 0) {
        char found[SHAPE_TEXT], wanted[SHAPE_TEXT];
        describe(tensor->type, tensor->rank, tensor->dims, found);
        describe(SAFETENSORS_F32, parameter->rank, dims, wanted);
        return fail(RETORT_FORMAT, "tensor \"%s\" is %s, %s was wanted", parameter->name, found,
                    wanted);
    }
    return check_values(parameter, tensor->data);
}

static enum retort_status check_tensors(const struct safetensors *file, const struct graph *graph)
{
    for (int i = 0; i < graph->parameter_count; i++)
        TRY(check_tensor(file, &graph->parameters[i]));
    for (int i = 0; i < file->count; i++)
        if (graph_find_parameter(graph, file->tensors[i].name) < 0)
            return fail(RETORT_FORMAT, "tensor \"%.80s\" belongs to no parameter of %s",
                        file->tensors[i].name, graph->network);
    return RETORT_OK;
}

static void copy_tensors(const struct safetensors *file, struct model *model)
{
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct safetensor *tensor = safetensors_find(file, model->graph.parameters[i].name);
        memcpy(model->values[i], tensor->data, tensor->bytes);
    }
}

/* ---- reading ---- */

static enum retort_status make_model(const struct safetensors *file, struct model *model)
{
    struct graph graph;
    TRY(check_format(file));
    TRY(load_graph(file, &graph));
    enum retort_status status = check_tensors(file, &graph);
    if (status == RETORT_OK)
        status = model_create(&graph, model);
    if (status != RETORT_OK) {
        graph_release(&graph);
        return status;
    }
    copy_tensors(file, model);
    status = load_normalisation(file, model);
    if (status == RETORT_OK)
        status = load_class_names(file, model);
    if (status == RETORT_OK)
        status = load_provenance(file, model);
    if (status != RETORT_OK)
        model_release(model);
    return status;
}

/* What else people keep networks in, by how it begins. */
static const char *guess_kind(const char *path)
{
    static const struct {
        const char *begin;
        size_t size;
        const char *kind;
    } kinds[] = {
        {"PK\3\4", 4, "a zip archive, as PyTorch and Keras write them"},
        {"\x80\2", 2, "a Python pickle, as older PyTorch writes them"},
        {"\x89HDF\r\n", 6, "an HDF5 file"},
        {"\x93NUMPY", 6, "a NumPy array"},
        {"\x1f\x8b", 2, "gzip-compressed"},
        {"GGUF", 4, "a GGUF file"},
        {"\x89PNG", 4, "a PNG image"},
        {"\xff\xd8\xff", 3, "a JPEG image"},
    };
    char begin[8] = {0};
    FILE *stream = fopen(path, "rb");
    size_t size = stream ? fread(begin, 1, sizeof(begin), stream) : 0;
    if (stream)
        fclose(stream);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (size >= kinds[i].size && !memcmp(begin, kinds[i].begin, kinds[i].size))
            return kinds[i].kind;
    return NULL;
}

enum retort_status model_load(const char *path, struct model *model)
{
    struct safetensors file;
    struct model made;
    enum retort_status status = safetensors_read(path, &file);
    if (status != RETORT_OK) {
        const char *kind = status == RETORT_FORMAT ? guess_kind(path) : NULL;
        return kind ? fail(status, "%s: no retort model; it seems to be %s", path, kind) : status;
    }
    status = make_model(&file, &made);
    safetensors_release(&file);
    if (status != RETORT_OK)
        return fail_in(status, "%s", path);
    *model = made;
    return RETORT_OK;
}
