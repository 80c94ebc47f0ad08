/* test_executor.c - what a user of executors relies on: equal runs give equal bits, images may
 * move, workspaces may be shared, inference writes to no parameter, impossible graphs are refused.
 * What they compute is tested in test_operators.c, test_gradients.c and test_networks.c. */
#include "sketch.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "nn/engine/onednn.h"
#include "train/optimizer.h"

enum { BATCH = 4, CLASSES = 10, STEPS = 3, IMAGE = 3 * 32 * 32 };

static const char *const networks[] = {
    "resnet:depth=8",
    "mobilenet:blocks=1-1-1-1-1,width=0.125",
    "vgg:depth=6,width=0.125,hidden=32,dropout=0.5",
};
enum { NETWORKS = sizeof(networks) / sizeof(networks[0]) };

static void make_model(const char *network, struct model *model)
{
    struct graph graph;
    assert_ok(network_build(network, CLASSES, (struct shape){3, 32, 32}, &graph));
    assert_ok(model_create(&graph, model));
    model_initialise(model, 5);
}

/* Gradients after STEPS steps of descent: their number, and the numbers to be freed. */
static float *train(const struct model *model, uint64_t seed, size_t *count)
{
    const struct executor_options options = {.batch = BATCH, .mode = EXECUTOR_TRAIN, .seed = seed};
    const struct recipe_train train = {.momentum = 0.9, .nesterov = true, .weight_decay = 5e-4};
    struct executor *executor = sketch_executor(model, &options);
    struct optimizer optimizer;
    assert_ok(optimizer_create(executor, &model->graph, &train, &optimizer));
    for (uint32_t step = 0; step < STEPS; step++) {
        float *images = sketch_numbers((size_t)BATCH * IMAGE, step);
        float *diff = sketch_numbers((size_t)BATCH * CLASSES, 100 + step);
        executor_forward(executor, images, step);
        memcpy(executor_diff_logits(executor), diff, (size_t)BATCH * CLASSES * sizeof(float));
        executor_backward(executor);
        optimizer_step(&optimizer, 0.01, 1);
        free(images);
        free(diff);
    }
    assert_ok(executor_status(executor));
    *count = optimizer.view.count;
    float *gradients = malloc(*count * sizeof(float));
    assert_non_null(gradients);
    memcpy(gradients, optimizer.view.gradients, *count * sizeof(float));
    optimizer_release(&optimizer);
    executor_destroy(executor);
    return gradients;
}

static void equal_seeds_give_equal_gradients(void **state)
{
    for (int i = 0; i < NETWORKS; i++) {
        struct model model;
        size_t count, again_count;
        make_model(networks[i], &model);
        float *gradients = train(&model, 1, &count), *again = train(&model, 1, &again_count);
        assert_int_equal(count, again_count);
        if (memcmp(gradients, again, count * sizeof(float)))
            fail_msg("%s: gradients differ", networks[i]);
        free(gradients);
        free(again);
        model_release(&model);
    }
}

static void the_seed_decides_what_drops_out(void **state)
{
    struct model model;
    size_t count;
    make_model(networks[2], &model);
    float *one = train(&model, 1, &count), *two = train(&model, 2, &count);
    assert_true(memcmp(one, two, count * sizeof(float)) != 0);
    free(one);
    free(two);
    model_release(&model);
}

/* Logits of one forward pass. */
static void infer(struct executor *executor, const float *images, float *logits)
{
    executor_forward(executor, images, 0);
    assert_ok(executor_status(executor));
    memcpy(logits, executor_logits(executor), (size_t)BATCH * CLASSES * sizeof(float));
}

static void images_may_lie_elsewhere_each_time(void **state)
{
    const struct executor_options options = {.batch = BATCH, .mode = EXECUTOR_INFER};
    float logits[2][BATCH * CLASSES];
    struct model model;
    make_model(networks[0], &model);
    struct executor *executor = sketch_executor(&model, &options);
    float *here = sketch_numbers((size_t)BATCH * IMAGE, 1);
    float *there = sketch_numbers((size_t)BATCH * IMAGE, 1);
    infer(executor, here, logits[0]);
    memset(here, 0, (size_t)BATCH * IMAGE * sizeof(float));
    infer(executor, there, logits[1]);
    assert_memory_equal(logits[0], logits[1], sizeof(logits[0]));
    free(here);
    free(there);
    executor_destroy(executor);
    model_release(&model);
}

/* What is made of weights once must be made anew when others are loaded. */
static void parameters_may_be_loaded_again(void **state)
{
    for (int precision = PRECISION_F32; precision <= PRECISION_BF16; precision++) {
        const struct executor_options options = {
            .batch = BATCH, .mode = EXECUTOR_INFER, .precision = (enum precision)precision};
        float found[2][BATCH * CLASSES], wanted[2][BATCH * CLASSES];
        struct model models[2];
        if (precision == PRECISION_BF16 && !dnn_has_bf16())
            break;
        float *images = sketch_numbers((size_t)BATCH * IMAGE, 1);
        for (int i = 0; i < 2; i++) {
            make_model(networks[0], &models[i]);
            model_initialise(&models[i], 20 + (uint64_t)i);
            struct executor *fresh = sketch_executor(&models[i], &options);
            infer(fresh, images, wanted[i]);
            executor_destroy(fresh);
        }
        struct executor *executor = sketch_executor(&models[0], &options);
        infer(executor, images, found[0]);
        infer(executor, images, found[0]);
        assert_ok(executor_load(executor, &models[1]));
        infer(executor, images, found[1]);
        assert_memory_equal(found, wanted, sizeof(found));
        assert_memory_not_equal(found[0], found[1], sizeof(found[0]));
        executor_destroy(executor);
        for (int i = 0; i < 2; i++)
            model_release(&models[i]);
        free(images);
    }
}

static void executors_may_share_a_workspace(void **state)
{
    const struct executor_options options = {.batch = BATCH, .mode = EXECUTOR_INFER};
    float alone[2][BATCH * CLASSES], shared[2][BATCH * CLASSES];
    struct model models[2];
    struct executor *executors[2];
    size_t bytes = 0;
    void *workspace;
    float *images = sketch_numbers((size_t)BATCH * IMAGE, 1);
    for (int i = 0; i < 2; i++) {
        make_model(networks[i], &models[i]);
        executors[i] = sketch_executor(&models[i], &options);
        infer(executors[i], images, alone[i]);
        executor_destroy(executors[i]);
        assert_ok(executor_create(&models[i].graph, &options, &executors[i]));
        assert_ok(executor_load(executors[i], &models[i]));
        if (executor_workspace(executors[i]) > bytes)
            bytes = executor_workspace(executors[i]);
    }
    assert_ok(memory_aligned(bytes, &workspace));
    memset(workspace, 0xff, bytes); /* NaN: nothing may be read that was not written */
    for (int i = 0; i < 2; i++)
        assert_ok(executor_bind(executors[i], workspace));
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < 2; i++) {
            infer(executors[i], images, shared[i]);
            assert_memory_equal(alone[i], shared[i], sizeof(alone[i]));
        }
    for (int i = 0; i < 2; i++) {
        executor_destroy(executors[i]);
        model_release(&models[i]);
    }
    free(workspace);
    free(images);
}

static void inference_writes_to_no_parameter(void **state)
{
    const struct executor_options options = {.batch = BATCH, .mode = EXECUTOR_INFER};
    float logits[BATCH * CLASSES];
    struct model model;
    make_model(networks[1], &model);
    struct executor *executor = sketch_executor(&model, &options);
    float *images = sketch_numbers((size_t)BATCH * IMAGE, 1);
    const uint64_t before = executor_hash(executor);
    infer(executor, images, logits);
    assert_true(executor_hash(executor) == before);
    free(images);
    executor_destroy(executor);
    model_release(&model);
}

/* ---- what is refused ---- */

static int batch_norm_of_a_vector(struct graph *g)
{
    return sketch_batch_norm(g, sketch_linear(g, 0, 5));
}

static int pool_of_a_vector(struct graph *g)
{
    return sketch_global_avg_pool(g, sketch_linear(g, 0, 5));
}

static int shortcut_of_a_vector(struct graph *g)
{
    return sketch_shortcut_a(g, sketch_linear(g, 0, 5), 7, 1);
}

static int conv_of_a_vector(struct graph *g)
{
    return sketch_conv(g, sketch_linear(g, 0, 5), (struct conv_attributes){5, 1, 1, 0, 1, false});
}

static int vector_plus_map(struct graph *g)
{
    int x = sketch_linear(g, 0, 3);
    return sketch_add(g, x, sketch_global_avg_pool(g, 0));
}

static int map_plus_vector(struct graph *g)
{
    int x = sketch_linear(g, 0, 3);
    int y = sketch_global_avg_pool(g, 0);
    return sketch_add(g, sketch_batch_norm(g, y), x);
}

static const struct refusal {
    int (*body)(struct graph *graph);
    const char *text;
} refusals[] = {
    {batch_norm_of_a_vector, "node n2 (batch_norm): it reads the vector of a linear layer"},
    {pool_of_a_vector, "node n2 (global_avg_pool): it reads the vector"},
    {shortcut_of_a_vector, "node n2 (shortcut_a): it reads the vector"},
    {conv_of_a_vector, "node n2 (conv): it reads the vector"},
    {vector_plus_map, "node n3 (add): it reads the vector"},
    {map_plus_vector, "node n3 (batch_norm): it reads the vector"},
};

static void graphs_that_mix_layouts_are_refused(void **state)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        for (int mode = EXECUTOR_INFER; mode <= EXECUTOR_TRAIN; mode++) {
            const struct executor_options options = {.batch = 2, .mode = (enum executor_mode)mode};
            struct graph graph;
            struct executor *executor;
            sketch_begin(&graph, (struct shape){3, 4, 5});
            sketch_linear(&graph, refusals[i].body(&graph), 2);
            assert_ok(graph_finish(&graph));
            assert_fails(executor_create(&graph, &options, &executor), RETORT_UNSUPPORTED,
                         refusals[i].text);
            graph_release(&graph);
        }
}

/* Every reader sends a gradient; there is room for four. */
static void a_value_with_too_many_readers_is_refused(void **state)
{
    for (int readers = 4; readers <= 5; readers++) {
        const struct executor_options options = {.batch = 2, .mode = EXECUTOR_TRAIN};
        struct graph graph;
        struct executor *executor = NULL;
        sketch_begin(&graph, (struct shape){3, 4, 5});
        int x = sketch_batch_norm(&graph, 0), sum = -1;
        for (int i = 0; i < readers; i++) {
            int y = sketch_max_pool(&graph, x, 2, 2);
            sum = i ? sketch_add(&graph, sum, y) : y;
        }
        sketch_linear(&graph, sum, 2);
        assert_ok(graph_finish(&graph));
        if (readers == 4)
            assert_ok(executor_create(&graph, &options, &executor));
        else
            assert_fails(executor_create(&graph, &options, &executor), RETORT_UNSUPPORTED,
                         "a value is read by more than 4 nodes");
        executor_destroy(executor);
        graph_release(&graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_seeds_give_equal_gradients),
        cmocka_unit_test(the_seed_decides_what_drops_out),
        cmocka_unit_test(images_may_lie_elsewhere_each_time),
        cmocka_unit_test(parameters_may_be_loaded_again),
        cmocka_unit_test(executors_may_share_a_workspace),
        cmocka_unit_test(inference_writes_to_no_parameter),
        cmocka_unit_test(graphs_that_mix_layouts_are_refused),
        cmocka_unit_test(a_value_with_too_many_readers_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
