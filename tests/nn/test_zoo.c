/* test_zoo.c - the families: cost, names and shapes against the outside implementation, taps,
 * specifications. */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nn/cost.h"
#include "nn/zoo/family.h"

static const struct shape small = {3, 32, 32}, medium = {3, 64, 64};

/* ---- cost ---- */

/* The published pairs have published numbers; the others are sums done by hand elsewhere. */
struct cost_case {
    const char *network;
    int classes, side;
    int64_t parameters, macs;
};
static const struct cost_case cost_cases[] = {
    {"vgg:depth=11,bn=false", 100, 32, 7935652, 212635648},
    {"vgg:depth=6,bn=false", 100, 32, 3751652, 60592128},
    {"vgg:depth=11", 100, 32, 7939492, 212635648},
    {"vgg:blocks=1-2-1-3,hidden=40-20,width=0.25,dropout=0.5", 11, 48, 450083, 24930300},
    {"vgg:hidden=0,bn=off", 10, 32, 1571466, 58413056},
    {"resnet:depth=32", 100, 32, 470004, 68868352},
    {"resnet", 100, 32, 81140, 12245248},
    {"resnet:depth=20", 10, 32, 269722, 40551040},
    {"resnet:blocks=1,1,1,widths=32,64,128,256,shortcut=B", 100, 32, 1233540, 177071104},
    {"resnet:widths=8-12-20-30,shortcut=B,classes=7,input=3x24x24", 100, 32, 23177, 2795682},
    {"mobilenet:depth=16", 1000, 64, 4880872, 310501376},
    {"mobilenet:depth=9", 1000, 64, 3069864, 151773184},
    {"mobilenet:blocks=1-1-1-2-1,width=0.3,stem_stride=2,input=3-40-40", 5, 32, 94010, 1062999},
};

static void a_network_costs_what_is_published(void **state)
{
    for (size_t i = 0; i < sizeof(cost_cases) / sizeof(cost_cases[0]); i++) {
        const struct cost_case *c = &cost_cases[i];
        struct graph graph;
        assert_ok(
            network_build(c->network, c->classes, (struct shape){3, c->side, c->side}, &graph));
        if (cost_parameters(&graph) != c->parameters || cost_macs(&graph) != c->macs)
            fail_msg("%s: %lld parameters and %lld MACs found", c->network,
                     (long long)cost_parameters(&graph), (long long)cost_macs(&graph));
        assert_string_equal(graph.network, c->network);
        graph_release(&graph);
    }
}

/* teacher / student, in hundredths */
static void check_ratio(const char *teacher, const char *student, int classes, struct shape input,
                        const int wanted[2])
{
    struct graph a, b;
    assert_ok(network_build(teacher, classes, input, &a));
    assert_ok(network_build(student, classes, input, &b));
    double parameters = (double)cost_parameters(&a) / (double)cost_parameters(&b);
    double macs = (double)cost_macs(&a) / (double)cost_macs(&b);
    assert_int_equal((int)(100 * parameters + 0.5), wanted[0]);
    assert_int_equal((int)(100 * macs + 0.5), wanted[1]);
    graph_release(&a);
    graph_release(&b);
}

static void the_pairs_are_compressed_as_published(void **state)
{
    check_ratio("resnet:depth=32", "resnet:depth=8", 100, small, (int[]){579, 562});
    check_ratio("vgg:depth=11,bn=false", "vgg:depth=6,bn=false", 100, small, (int[]){212, 351});
    check_ratio("mobilenet:depth=16", "mobilenet:depth=9", 1000, medium, (int[]){159, 205});
}

/* ---- names and shapes ---- */

struct golden_case {
    const char *golden, *prefix, *network;
};
static const struct golden_case golden_cases[] = {
    {"net_resnet8_a", "init.", "resnet:depth=8,widths=8-8-16-32"},
    {"net_resnet8_b", "init.", "resnet:depth=8,widths=8-8-16-32,shortcut=B"},
    {"net_vgg6", "init.", "vgg:depth=6,width=0.125,hidden=32,bn=false"},
    {"net_vgg6_bn", "init.", "vgg:depth=6,width=0.125,hidden=32"},
    {"net_mobilenet", "init.", "mobilenet:blocks=1-1-1-1-1,width=0.125"},
    {"distill_one_teacher", "teacher1.init.", "resnet:depth=14,width=0.5"},
    {"distill_two_teachers", "teacher2.init.", "resnet:depth=14,widths=8-8-16-32"},
};

/* Which of the file's tensors begin with prefix. */
static int count_tensors(const struct golden *golden, const char *prefix)
{
    int count = 0;
    for (int i = 0; i < golden->file.count; i++)
        count += strncmp(golden->file.tensors[i].name, prefix, strlen(prefix)) == 0;
    return count;
}

/* *state is the case. width=0.5 of a ResNet halves the stem too: 8, 8, 16, 32. */
static void parameters_are_named_and_shaped_as_outside(void **state)
{
    const struct golden_case *c = *state;
    struct golden golden;
    struct graph graph;
    char name[256];
    golden_open(&golden, c->golden);
    assert_ok(network_build(c->network, 10, small, &graph));
    for (int i = 0; i < graph.parameter_count; i++) {
        const struct parameter *p = &graph.parameters[i];
        struct golden_dims dims = {.rank = p->rank};
        memcpy(dims.dims, p->dims, (size_t)p->rank * sizeof(int));
        snprintf(name, sizeof(name), "%s%s", c->prefix, p->name);
        golden_floats(&golden, name, dims);
    }
    assert_int_equal(count_tensors(&golden, c->prefix), graph.parameter_count);
    graph_release(&graph);
    golden_close(&golden);
}

static const struct {
    const char *network, *taps;
} tap_cases[] = {
    {"resnet:depth=14", "stem 16x32x32, stage1 16x32x32, stage2 32x16x16, stage3 64x8x8, "},
    {"resnet:strides=2-2-3,shortcut=B,input=1x28x28,width=2",
     "stem 32x28x28, stage1 32x14x14, stage2 64x7x7, stage3 128x3x3, "},
    {"vgg:input=3x40x33", "block1 64x20x16, block2 128x10x8, block3 256x5x4, block4 512x2x2, "},
    {"mobilenet:input=3x64x64",
     "stage1 64x32x32, stage2 128x32x32, stage3 256x16x16, stage4 512x8x8, stage5 1024x8x8, "},
};

static void taps_are_the_last_maps_of_stages(void **state)
{
    for (size_t i = 0; i < sizeof(tap_cases) / sizeof(tap_cases[0]); i++) {
        struct graph graph;
        char text[512] = "";
        assert_ok(network_build(tap_cases[i].network, 10, small, &graph));
        for (int t = 0; t < graph.tap_count; t++) {
            struct shape shape = graph_tap_shape(&graph, t);
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %dx%dx%d, ",
                     graph.taps[t].name, shape.c, shape.h, shape.w);
            enum op_kind kind = graph.nodes[graph.taps[t].node].kind;
            assert_true(kind == OP_relu || kind == OP_max_pool);
        }
        assert_string_equal(text, tap_cases[i].taps);
        graph_release(&graph);
    }
}

static void every_family_comes_back_from_json_as_it_was(void **state)
{
    for (size_t i = 0; i < sizeof(cost_cases) / sizeof(cost_cases[0]); i++) {
        struct graph graph, again;
        assert_ok(network_build(cost_cases[i].network, 10, small, &graph));
        json_t *json = graph_json(&graph);
        assert_ok(graph_from_json(json, "graph", &again));
        json_t *twice = graph_json(&again);
        char *text = json_dumps(json, 0), *text_twice = json_dumps(twice, 0);
        assert_string_equal(text, text_twice);
        assert_int_equal(again.parameter_count, graph.parameter_count);
        assert_int_equal(cost_macs(&again), cost_macs(&graph));
        free(text);
        free(text_twice);
        json_decref(json);
        json_decref(twice);
        graph_release(&graph);
        graph_release(&again);
    }
}

/* ---- specifications ---- */

static const struct {
    const char *network, *message;
} bad_cases[] = {
    {"", "network family \"\" found, one of resnet, vgg, mobilenet wanted"},
    {"resnet32", "network family \"resnet32\" found, one of resnet, vgg, mobilenet wanted"},
    {"res:depth=8", "network family \"res\" found"},
    {"resnet:dept=8", "unknown setting (did you mean depth?)"},
    {"resnet:depth", "depth"},
    {"resnet:depth=9", "depth: 9 found, 6n+2 (8, 14, 20, ...) wanted"},
    {"resnet:depth=2", "depth: 2 found, a whole number from 8"},
    {"resnet:depth=eight", "depth: eight found"},
    {"resnet:shortcut=C", "shortcut: C found, one of A, B wanted"},
    {"resnet:widths=16-32-64", "widths: 3 numbers found, 4 wanted"},
    {"resnet:blocks=1-1", "blocks: 2 numbers found, 3 wanted"},
    {"resnet:strides=1-2-2-2", "strides: 4 numbers found, 3 wanted"},
    {"resnet:widths=16-16-31-64", "node stage2.block1.shortcut (shortcut_a): 31 channels from 16"},
    {"resnet:widths=64-32-16-8", "32 channels from 64: an even number of channels must be added"},
    {"resnet:width=0", "width: 0 found"},
    {"resnet:width=nan", "width"},
    {"resnet:widths=8192-8192-8192-8192,width=64", "node stem.conv (conv): out_channels: 524288"},
    {"resnet:blocks=200-200-200", "a graph holds at most 4096 nodes"},
    {"resnet:input=3x32", "input: 2 numbers found, 3 wanted"},
    {"resnet:input=3x32x0", "input.2: 0 found"},
    {"resnet:input=3x32x32x", "input"},
    {"resnet:input=rgb", "input"},
    {"resnet:classes=-1", "classes: -1 found"},
    {"vgg:depth=13", "depth: 13 found, 6 or 11 wanted, or blocks"},
    {"vgg:blocks=1-1-1", "blocks: 3 numbers found, 4 wanted"},
    {"vgg:widths=64", "widths: 1 numbers found, 4 wanted"},
    {"vgg:hidden=32-0", "node hidden2 (linear): out_features: 0 found"},
    {"vgg:dropout=1", "dropout: 1 found"},
    {"vgg:bn=maybe", "bn: maybe found, true or false wanted"},
    {"vgg:input=3x15x32", "node block4.pool (max_pool): a map of 1x4 is too small"},
    {"mobilenet:depth=10", "depth: 10 found, 9 or 16 wanted, or blocks"},
    {"mobilenet:blocks=1-1-1", "blocks: 3 numbers found, 5 wanted"},
    {"mobilenet:widths=32", "widths: 1 numbers found, 6 wanted"},
    {"mobilenet:strides=2", "strides: 1 numbers found, 5 wanted"},
};

static void a_wrong_specification_is_refused_and_says_why(void **state)
{
    struct graph graph;
    for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++)
        assert_fails(network_build(bad_cases[i].network, 10, small, &graph), RETORT_INVALID,
                     bad_cases[i].message);
    assert_fails(network_build("vgg", 0, small, &graph), RETORT_INVALID,
                 "vgg: classes: 0 found, at least 1 wanted");
    assert_fails(network_build("vgg", 10, (struct shape){3, 32, 0}, &graph), RETORT_INVALID,
                 "vgg: input: a map of 3x32x0");
}

static void a_specification_wins_over_the_data_set(void **state)
{
    struct graph graph;
    assert_ok(network_build("resnet:input=1x28x20,classes=3", 10, small, &graph));
    assert_int_equal(graph.classes, 3);
    assert_int_equal(graph.input.c, 1);
    assert_int_equal(graph.input.h, 28);
    assert_int_equal(graph.input.w, 20);
    graph_release(&graph);
    assert_ok(network_build("resnet:", 1, small, &graph));
    assert_int_equal(graph.classes, 1);
    assert_int_equal(graph.input.h, 32);
    graph_release(&graph);
}

static void every_family_has_help_and_defaults_that_build(void **state)
{
    for (int i = 0; network_families[i]; i++) {
        const struct network_family *family = network_families[i];
        struct graph graph;
        assert_ok(network_build(family->name, 10, small, &graph));
        assert_true(graph.tap_count >= 4);
        assert_true(strlen(family->help) > 0);
        for (int k = 0; k < family->settings->count; k++)
            assert_true(strlen(family->settings->rows[k].help) > 0);
        graph_release(&graph);
    }
}

int main(void)
{
    enum { GOLDEN_CASES = sizeof(golden_cases) / sizeof(golden_cases[0]) };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_costs_what_is_published),
        cmocka_unit_test(the_pairs_are_compressed_as_published),
        cmocka_unit_test(taps_are_the_last_maps_of_stages),
        cmocka_unit_test(every_family_comes_back_from_json_as_it_was),
        cmocka_unit_test(a_wrong_specification_is_refused_and_says_why),
        cmocka_unit_test(a_specification_wins_over_the_data_set),
        cmocka_unit_test(every_family_has_help_and_defaults_that_build),
    };
    struct CMUnitTest outside[GOLDEN_CASES];
    for (int i = 0; i < GOLDEN_CASES; i++)
        outside[i] =
            (struct CMUnitTest){golden_cases[i].golden, parameters_are_named_and_shaped_as_outside,
                                NULL, NULL, (void *)&golden_cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(outside, NULL, NULL);
}
