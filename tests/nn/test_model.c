/* test_model.c - models start as they should, survive files, and damaged files are refused. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/safetensors.h"
#include "nn/model.h"
#include "nn/op/op.h"

/* input -> conv -> bn -> relu -> pool -> fc: every role of parameter, 3 classes. */
static void make_graph(struct graph *graph, int channels)
{
    struct conv_attributes conv = {
        .out_channels = channels, .kernel = 3, .stride = 1, .pad = 1, .groups = 1};
    struct linear_attributes linear = {.out_features = 3};
    int node = 0;
    assert_ok(graph_begin(graph, "test", (struct shape){2, 4, 4}));
    assert_ok(graph_add(graph, OP_conv, "conv", &node, 1, &conv, &node));
    assert_ok(graph_add(graph, OP_batch_norm, "bn", &node, 1, NULL, &node));
    assert_ok(graph_add(graph, OP_relu, "relu", &node, 1, NULL, &node));
    assert_ok(graph_tap(graph, "stem", node));
    assert_ok(graph_add(graph, OP_global_avg_pool, "pool", &node, 1, NULL, &node));
    assert_ok(graph_add(graph, OP_linear, "fc", &node, 1, &linear, &node));
    assert_ok(graph_finish(graph));
}

static void make_model(struct model *model)
{
    static const char *const names[] = {"cat", "caf\xc3\xa9", "\"\\\n"};
    struct graph graph;
    make_graph(&graph, 4);
    assert_ok(model_create(&graph, model));
    assert_null(graph.nodes);
    model_initialise(model, 1);
    model->mean[0] = 0.1f;
    model->mean[1] = 0.28604060411453247f;
    model->std[0] = 1e-7f;
    model->std[1] = 0.33333334f;
    assert_ok(model_name_classes(model, names));
    json_object_set_new(model->provenance, "seed", json_string("1"));
    json_object_set_new(model->provenance, "method", json_string("plain"));
}

static float *values_of(const struct model *model, const char *name)
{
    int parameter = graph_find_parameter(&model->graph, name);
    assert_true(parameter >= 0);
    return model->values[parameter];
}

static void assert_equal_files(const char *first, const char *second)
{
    struct file_bytes a, b;
    assert_ok(file_read(first, 1 << 24, &a));
    assert_ok(file_read(second, 1 << 24, &b));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    free(a.data);
    free(b.data);
}

/* ---- initialisation ---- */

static void a_new_model_is_neutral(void **state)
{
    struct graph graph;
    struct model model;
    make_graph(&graph, 4);
    assert_ok(model_create(&graph, &model));
    assert_float_equal(model.mean[0], 0, 0);
    assert_float_equal(model.std[0], 1, 0);
    assert_null(model.class_names);
    assert_int_equal(json_object_size(model.provenance), 0);
    for (int i = 0; i < model.graph.parameter_count; i++) {
        assert_int_equal((uintptr_t)model.values[i] % MEMORY_ALIGNMENT, 0);
        for (size_t k = 0; k < parameter_count(&model.graph.parameters[i]); k++)
            assert_float_equal(model.values[i][k], 0, 0);
    }
    model_release(&model);
    model_release(&model); /* zeroed: does nothing */
}

static void weights_have_mean_0_and_variance_2_over_fan_in(void **state)
{
    struct graph graph;
    struct model model;
    assert_ok(network_build("resnet:depth=8", 10, (struct shape){3, 32, 32}, &graph));
    assert_ok(model_create(&graph, &model));
    model_initialise(&model, 3);
    int weights = 0;
    for (int i = 0; i < model.graph.parameter_count; i++) {
        const struct parameter *parameter = &model.graph.parameters[i];
        double count = (double)parameter_count(parameter), sum = 0, squares = 0;
        if (parameter->role != PARAMETER_WEIGHT)
            continue;
        for (size_t k = 0; k < (size_t)count; k++) {
            sum += model.values[i][k];
            squares += (double)model.values[i][k] * model.values[i][k];
        }
        /* Four standard errors of a normal sample's mean and variance. */
        double variance = 2.0 / parameter->fan_in;
        assert_true(fabs(sum / count) < 4 * sqrt(variance / count));
        assert_true(fabs(squares / count - variance) < 4 * variance * sqrt(2 / count));
        weights++;
    }
    assert_int_equal(weights, 8);
    model_release(&model);
}

static void other_parameters_start_at_0_or_1(void **state)
{
    struct model model;
    make_model(&model);
    for (int i = 0; i < 4; i++) {
        assert_float_equal(values_of(&model, "bn.weight")[i], 1, 0);
        assert_float_equal(values_of(&model, "bn.bias")[i], 0, 0);
        assert_float_equal(values_of(&model, "bn.running_mean")[i], 0, 0);
        assert_float_equal(values_of(&model, "bn.running_var")[i], 1, 0);
    }
    for (int i = 0; i < 3; i++)
        assert_float_equal(values_of(&model, "fc.bias")[i], 0, 0);
    model_release(&model);
}

static void the_seed_alone_determines_the_weights(void **state)
{
    struct model model;
    make_model(&model);
    uint64_t first = model_hash(&model);
    model_initialise(&model, 2);
    assert_true(model_hash(&model) != first);
    model_initialise(&model, 1);
    assert_true(model_hash(&model) == first);
    values_of(&model, "bn.running_var")[3] = 2;
    assert_true(model_hash(&model) != first);
    model_release(&model);
}

/* ---- copies and files ---- */

static void assert_same_model(const struct model *a, const struct model *b)
{
    assert_string_equal(a->graph.network, b->graph.network);
    assert_true(model_hash(a) == model_hash(b));
    assert_memory_equal(a->mean, b->mean, sizeof(a->mean));
    assert_memory_equal(a->std, b->std, sizeof(a->std));
    assert_true(json_equal(a->provenance, b->provenance));
    assert_int_equal(a->class_names == NULL, b->class_names == NULL);
    for (int i = 0; a->class_names && i < a->graph.classes; i++)
        assert_string_equal(a->class_names[i], b->class_names[i]);
    for (int i = 0; i < a->graph.parameter_count; i++)
        assert_string_equal(a->graph.parameters[i].name, b->graph.parameters[i].name);
    assert_int_equal(a->graph.tap_count, b->graph.tap_count);
    for (int i = 0; i < a->graph.tap_count; i++)
        assert_string_equal(a->graph.taps[i].name, b->graph.taps[i].name);
}

static void a_model_survives_its_file(void **state)
{
    struct model model, loaded;
    make_model(&model);
    const char *first = support_path("first"), *second = support_path("second");
    assert_ok(model_save(&model, first));
    assert_ok(model_load(first, &loaded));
    assert_same_model(&model, &loaded);
    assert_ok(model_save(&loaded, second));
    assert_equal_files(first, second);
    model_release(&loaded);
    model_release(&model);
}

static void a_network_of_the_zoo_survives_its_file(void **state)
{
    struct graph graph;
    struct model model, loaded;
    assert_ok(network_build("resnet:depth=8", 10, (struct shape){3, 32, 32}, &graph));
    assert_ok(model_create(&graph, &model));
    model_initialise(&model, 1);
    const char *first = support_path("first"), *second = support_path("second");
    assert_ok(model_save(&model, first));
    assert_ok(model_load(first, &loaded));
    assert_same_model(&model, &loaded);
    assert_ok(model_save(&loaded, second));
    assert_equal_files(first, second);
    model_release(&loaded);
    model_release(&model);
}

static void the_order_of_provenance_does_not_reach_the_file(void **state)
{
    struct model model;
    make_model(&model);
    const char *first = support_path("first"), *second = support_path("second");
    assert_ok(model_save(&model, first));
    json_object_del(model.provenance, "seed");
    json_object_set_new(model.provenance, "seed", json_string("1"));
    assert_ok(model_save(&model, second));
    assert_equal_files(first, second);
    model_release(&model);
}

static void a_copy_is_equal_and_independent(void **state)
{
    struct model model, copy;
    make_model(&model);
    assert_ok(model_copy(&model, &copy));
    assert_same_model(&model, &copy);
    uint64_t hash = model_hash(&copy);
    model_initialise(&model, 9);
    json_object_set_new(model.provenance, "seed", json_string("9"));
    model_release(&model);
    assert_true(model_hash(&copy) == hash);
    assert_string_equal(json_string_value(json_object_get(copy.provenance, "seed")), "1");
    assert_string_equal(copy.class_names[0], "cat");
    assert_ok(model_save(&copy, support_path("copy")));
    model_release(&copy);
}

static void a_model_that_could_not_be_read_is_not_written(void **state)
{
    struct model model;
    make_model(&model);
    const char *path = support_path("diverged");
    values_of(&model, "fc.weight")[5] = NAN;
    assert_fails(model_save(&model, path), RETORT_INVALID, "\"fc.weight\": nan found at 5");
    model_initialise(&model, 1);
    model.std[1] = 0;
    assert_fails(model_save(&model, path), RETORT_INVALID, "std[1] is 0");
    model.std[1] = 1;
    json_object_set_new(model.provenance, "epochs", json_integer(3));
    assert_fails(model_save(&model, path), RETORT_INVALID, "\"epochs\" is no text");
    json_object_del(model.provenance, "epochs");
    static const char *const names[] = {"a", "b", "\xff"};
    assert_ok(model_name_classes(&model, names));
    assert_fails(model_save(&model, path), RETORT_INVALID, "class name 2");
    assert_false(file_exists(path));
    model_release(&model);
}

/* ---- damaged files ---- */

static const struct {
    const char *key, *value; /* NULL: the field is removed */
    const char *text;
} damaged_metadata[] = {
    {"format", NULL, "a safetensors file with no \"format\""},
    {"format", "pt", "a safetensors file of format \"pt\""},
    {"version", NULL, "model version (none) found"},
    {"version", "2", "model version 2 found, this program reads version 1"},
    {"network", NULL, "network \"\" found"},
    {"network", "other", "network \"other\" found, its graph is \"test\""},
    {"graph", NULL, "no \"graph\""},
    {"graph", "{", "graph is no JSON"},
    {"graph", "{\"nodes\":[],\"nodes\":[]}", "graph is no JSON: duplicate"},
    {"graph", "[]", "metadata: graph: "},
    {"graph", "{}", "metadata: graph: "},
    {"normalisation", NULL, "no \"normalisation\""},
    {"normalisation", "[]", "normalisation: mean and std"},
    {"normalisation", "{\"mean\":[0,0]}", "normalisation: mean and std"},
    {"normalisation", "{\"mean\":[0],\"std\":[1,1]}", "mean is no list of 2 numbers"},
    {"normalisation", "{\"mean\":[0,0],\"std\":[1,1,1]}", "std is no list of 2 numbers"},
    {"normalisation", "{\"mean\":[0,0],\"std\":[1,\"1\"]}", "std[1] is no number"},
    {"normalisation", "{\"mean\":[0,0],\"std\":[1,0]}", "std[1] is 0"},
    {"normalisation", "{\"mean\":[0,0],\"std\":[-1,1]}", "std[0] is -1"},
    {"normalisation", "{\"mean\":[0,0],\"std\":[1e99,1]}", "std[0] is inf"},
    {"normalisation", "{\"mean\":[0,-1e99],\"std\":[1,1]}", "mean[1] is -inf"},
    {"class_names", "{}", "class_names: 0 found, the network has 3"},
    {"class_names", "[\"a\",\"b\"]", "class_names: 2 found, the network has 3"},
    {"class_names", "[\"a\",\"b\",3]", "class_names[2] is no text"},
    {"class_names", "[\"a\",\"b\",\"\\u0000\"]", "class_names is no JSON"},
    {"provenance", NULL, "no \"provenance\""},
    {"provenance", "[]", "provenance is no object"},
    {"provenance", "{\"epochs\":3}", "\"epochs\" is no text"},
};

static void damaged_metadata_is_refused(void **state)
{
    struct model model;
    make_model(&model);
    const char *intact = support_path("intact"), *path = support_path("damaged");
    assert_ok(model_save(&model, intact));
    model_release(&model);
    for (size_t i = 0; i < sizeof(damaged_metadata) / sizeof(damaged_metadata[0]); i++) {
        struct safetensors file;
        assert_ok(safetensors_read(intact, &file));
        const char *key = damaged_metadata[i].key, *value = damaged_metadata[i].value;
        if (value)
            json_object_set_new(file.metadata, key, json_string(value));
        else
            json_object_del(file.metadata, key);
        assert_ok(safetensors_write(path, file.tensors, file.count, file.metadata));
        safetensors_release(&file);
        assert_fails(model_load(path, &model), RETORT_FORMAT, damaged_metadata[i].text);
        assert_non_null(strstr(retort_message(), path));
    }
}

static const float poison[32] = {1, 1, NAN};
static const float negative[4] = {1, 0, 1, -0.5f};

static const struct {
    const char *name, *renamed; /* the tensor that is changed; NULL: one is added */
    struct safetensor tensor;   /* what it becomes; rank -1: as it was */
    const char *text;
} damaged_tensors[] = {
    {"bn.bias", "bn.shift", {.rank = -1}, "\"bn.bias\" is missing"},
    {NULL,
     "fc.extra",
     {.type = SAFETENSORS_U8, .rank = 1, .dims = {3}, .bytes = 3, .data = poison},
     "\"fc.extra\" belongs to no parameter of test"},
    {"bn.bias",
     "bn.bias",
     {.rank = 1, .dims = {5}, .bytes = 20, .data = poison},
     "\"bn.bias\" is F32 5, F32 4 was wanted"},
    {"bn.bias",
     "bn.bias",
     {.rank = 2, .dims = {4, 1}, .bytes = 16, .data = poison},
     "\"bn.bias\" is F32 4x1, F32 4 was wanted"},
    {"bn.bias", "bn.bias", {.rank = 0, .bytes = 4, .data = poison}, "F32 scalar, F32 4 was wanted"},
    {"fc.weight",
     "fc.weight",
     {.rank = 2, .dims = {4, 3}, .bytes = 48, .data = poison},
     "\"fc.weight\" is F32 4x3, F32 3x4 was wanted"},
    {"bn.bias",
     "bn.bias",
     {.type = SAFETENSORS_I32, .rank = 1, .dims = {4}, .bytes = 16, .data = poison},
     "\"bn.bias\" is I32 4, F32 4 was wanted"},
    {"bn.bias",
     "bn.bias",
     {.rank = 1, .dims = {4}, .bytes = 16, .data = poison},
     "\"bn.bias\": nan found at 2"},
    {"bn.running_var",
     "bn.running_var",
     {.rank = 1, .dims = {4}, .bytes = 16, .data = negative},
     "\"bn.running_var\": -0.5 found at 3, a variance is 0 or more"},
};

static void damaged_tensors_are_refused_by_name(void **state)
{
    struct model model;
    make_model(&model);
    const char *intact = support_path("intact"), *path = support_path("damaged");
    assert_ok(model_save(&model, intact));
    model_release(&model);
    for (size_t i = 0; i < sizeof(damaged_tensors) / sizeof(damaged_tensors[0]); i++) {
        struct safetensors file;
        struct safetensor tensors[16] = {0};
        assert_ok(safetensors_read(intact, &file));
        memcpy(tensors, file.tensors, (size_t)file.count * sizeof(tensors[0]));
        int changed = file.count;
        for (int k = 0; damaged_tensors[i].name && k < file.count; k++)
            if (!strcmp(tensors[k].name, damaged_tensors[i].name))
                changed = k;
        if (damaged_tensors[i].tensor.rank >= 0)
            tensors[changed] = damaged_tensors[i].tensor;
        tensors[changed].name = damaged_tensors[i].renamed;
        int count = file.count + (changed == file.count);
        assert_ok(safetensors_write(path, tensors, count, file.metadata));
        safetensors_release(&file);
        assert_fails(model_load(path, &model), RETORT_FORMAT, damaged_tensors[i].text);
    }
}

static void other_kinds_of_files_are_recognised(void **state)
{
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"PK\3\4 and more", "it seems to be a zip archive, as PyTorch"},
        {"\x80\2 and more", "it seems to be a Python pickle"},
        {"\x89PNG\r\n\x1a\n", "it seems to be a PNG image"},
        {"plain words, no model", "a header of"},
        {"", "0 bytes found"},
    };
    struct model model;
    const char *path = support_path("other");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_ok(file_write(path, cases[i].bytes, strlen(cases[i].bytes)));
        assert_fails(model_load(path, &model), RETORT_FORMAT, cases[i].text);
    }
    assert_fails(model_load(support_path("absent"), &model), RETORT_IO, "absent");
}

static void no_damaged_byte_of_the_header_does_harm(void **state)
{
    struct model model;
    make_model(&model);
    const char *path = support_path("damaged");
    assert_ok(model_save(&model, path));
    model_release(&model);
    struct file_bytes bytes;
    assert_ok(file_read(path, 1 << 20, &bytes));
    uint64_t header;
    memcpy(&header, bytes.data, 8);
    FILE *stream = fopen(path, "r+b");
    assert_non_null(stream);
    for (size_t place = 0; place < 8 + header; place++)
        for (int bit = 0; bit < 8; bit++) {
            fseek(stream, (long)place, SEEK_SET);
            fputc(bytes.data[place] ^ 1 << bit, stream);
            fflush(stream);
            if (model_load(path, &model) == RETORT_OK)
                model_release(&model);
            fseek(stream, (long)place, SEEK_SET);
            fputc(bytes.data[place], stream);
        }
    fclose(stream);
    assert_ok(model_load(path, &model));
    model_release(&model);
    free(bytes.data);
}

static int allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

/* Only jansson's allocations can be made to fail from here. It does not tell a text that is no
 * UTF-8 from one for which memory is out, hence RETORT_INVALID. Loading cannot be tested so:
 * jansson 2.14's parser stops the program when its text buffer cannot grow. */
static void memory_that_runs_out_is_a_clean_failure(void **state)
{
    struct model model, copy;
    make_model(&model);
    const char *path = support_path("kept");
    for (int copying = 0; copying <= 1; copying++) {
        enum retort_status status = RETORT_MEMORY;
        for (int k = 0; status != RETORT_OK; k++) {
            json_set_alloc_funcs(failing_malloc, free);
            allocations_left = k;
            status = copying ? model_copy(&model, &copy) : model_save(&model, path);
            json_set_alloc_funcs(malloc, free);
            if (status != RETORT_OK && status != RETORT_MEMORY && status != RETORT_INVALID)
                fail_msg("allocation %d: status %d, %s", k, status, retort_message());
        }
    }
    assert_same_model(&model, &copy);
    model_release(&copy);
    model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_model_is_neutral),
        cmocka_unit_test(weights_have_mean_0_and_variance_2_over_fan_in),
        cmocka_unit_test(other_parameters_start_at_0_or_1),
        cmocka_unit_test(the_seed_alone_determines_the_weights),
        cmocka_unit_test(a_model_survives_its_file),
        cmocka_unit_test(a_network_of_the_zoo_survives_its_file),
        cmocka_unit_test(the_order_of_provenance_does_not_reach_the_file),
        cmocka_unit_test(a_copy_is_equal_and_independent),
        cmocka_unit_test(a_model_that_could_not_be_read_is_not_written),
        cmocka_unit_test(damaged_metadata_is_refused),
        cmocka_unit_test(damaged_tensors_are_refused_by_name),
        cmocka_unit_test(other_kinds_of_files_are_recognised),
        cmocka_unit_test(memory_that_runs_out_is_a_clean_failure),
        cmocka_unit_test(no_damaged_byte_of_the_header_does_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
