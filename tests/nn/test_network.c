/* test_network.c - the public view of a network: specifications and model files. */
#include "support.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "nn/model.h"
#include "retort/network.h"

static const int input[3] = {3, 32, 32};

static void a_specification_is_shown_layer_by_layer(void **state)
{
    retort_network *network;
    int64_t parameters = 0, macs = 0;
    int taps = 0;
    assert_ok(retort_network_open("vgg:depth=6,bn=false", 100, input, &network));
    assert_string_equal(retort_network_name(network), "vgg:depth=6,bn=false");
    for (int i = 0; i < retort_network_layers(network); i++) {
        struct retort_layer layer = retort_network_layer(network, i);
        parameters += layer.parameters;
        macs += layer.macs;
        taps += layer.tap != NULL;
        if (strcmp(layer.name, "block2.pool") == 0) {
            assert_string_equal(layer.kind, "max_pool");
            assert_string_equal(layer.tap, "block2");
            assert_int_equal(layer.channels, 128);
            assert_int_equal(layer.height, 8);
            assert_int_equal(layer.width, 8);
        }
    }
    assert_int_equal(taps, 4);
    assert_int_equal(parameters, 3751652);
    assert_int_equal(macs, 60592128);
    assert_int_equal(retort_network_parameters(network), parameters);
    assert_int_equal(retort_network_macs(network), macs);
    assert_int_equal(retort_network_file_bytes(network), 0);
    retort_network_close(network);
    retort_network_close(NULL);
}

static void a_model_file_is_shown_as_its_network(void **state)
{
    const char *path = support_path("model.safetensors");
    struct graph graph;
    struct model model;
    retort_network *network;
    struct stat info;
    assert_ok(network_build("resnet:classes=7", 10, (struct shape){1, 28, 28}, &graph));
    assert_ok(model_create(&graph, &model));
    for (int i = 0; i < MODEL_CHANNELS; i++)
        model.std[i] = 1;
    model_initialise(&model, 1);
    assert_ok(model_save(&model, path));
    model_release(&model);
    assert_ok(retort_network_open(path, 10, input, &network));
    assert_string_equal(retort_network_name(network), "resnet:classes=7");
    struct retort_layer first = retort_network_layer(network, 0);
    assert_int_equal(first.channels, 1);
    assert_int_equal(first.height, 28);
    struct retort_layer last = retort_network_layer(network, retort_network_layers(network) - 1);
    assert_int_equal(last.channels, 7);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(retort_network_file_bytes(network), info.st_size);
    retort_network_close(network);
}

static void what_is_neither_is_refused_as_what_it_looks_like(void **state)
{
    retort_network *network;
    assert_fails(retort_network_open("resnt", 10, input, &network), RETORT_INVALID,
                 "one of resnet, vgg, mobilenet wanted");
    assert_fails(retort_network_open("resnet:width=0.0", 10, input, &network), RETORT_INVALID,
                 "width: 0 found");
    assert_fails(retort_network_open("student.safetensors", 10, input, &network), RETORT_IO,
                 "student.safetensors: cannot open");
    assert_fails(retort_network_open("runs/demo", 10, input, &network), RETORT_IO, "runs/demo");
    const char *text = support_path("text");
    assert_ok(file_write(text, "no model at all", 15));
    assert_fails(retort_network_open(text, 10, input, &network), RETORT_FORMAT, text);
}

static void a_folder_does_not_hide_the_family_of_its_name(void **state)
{
    char before[4096];
    retort_network *network;
    assert_non_null(getcwd(before, sizeof(before)));
    const char *folder = support_path("here");
    assert_ok(file_make_folder(folder));
    assert_int_equal(chdir(folder), 0);
    assert_ok(file_make_folder("resnet"));
    enum retort_status status = retort_network_open("resnet", 10, input, &network);
    assert_int_equal(chdir(before), 0);
    assert_ok(status);
    retort_network_close(network);
}

static void help_has_a_line_for_every_family_and_key(void **state)
{
    int lines = 0, families = 0;
    bool strides = false;
    for (; retort_network_help(lines); lines++) {
        const char *line = retort_network_help(lines);
        families += line[0] != ' ';
        strides = strides || strstr(line, "strides=2,1,2,2,1");
    }
    assert_int_equal(families, 3);
    assert_true(strides);
    assert_true(lines > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_specification_is_shown_layer_by_layer),
        cmocka_unit_test(a_model_file_is_shown_as_its_network),
        cmocka_unit_test(what_is_neither_is_refused_as_what_it_looks_like),
        cmocka_unit_test(a_folder_does_not_hide_the_family_of_its_name),
        cmocka_unit_test(help_has_a_line_for_every_family_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
