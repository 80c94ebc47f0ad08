/* test_gradients.c - what executors compute is what the slow twin (reference.h) computes: logits,
 * taps and running statistics; and gradients are what central differences on the twin give.
 *
 * A case is the body of a small network; a linear layer ends it. It runs in these ways:
 *   trained without taps, with the gradient of the input; the linear layer reads the whole map
 *   trained with every tap and a gradient for each; average pooling before the linear layer
 *   inferred without taps, and with every tap: other nodes fuse
 * Where Winograd's convolution takes part, all of them are run a second time without it, within the
 * same tolerance.
 * In bf16, where the processor has it, gradients are those in f32, to the rounding of bf16 and the
 * ReLUs and max pools that it turns.
 * The loss is the sum of all logits and tapped numbers times fixed random weights. Of every
 * parameter, and of the input, EVERY evenly spread numbers are checked one by one, and all of them
 * along one random direction. Differences are taken small enough that no ReLU or max pool decides
 * otherwise. */
#include "reference.h"
#include "sketch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "nn/engine/onednn.h"
#include "nn/engine/winograd.h"

enum { EVERY = 16, CLASSES = 3, MOST_TAPS = 8, SEED = 7, STEP = 3 };

/* Float32 through a few layers, in parts of the largest number of the same tensor. */
static const double VALUE_TOLERANCE = 2e-5, SLOPE_TOLERANCE = 1e-4;
/* Tensors whose gradients are all rounding (a bias before a batch norm) are measured against this
 * part of the largest gradient of all. */
static const double SMALL_TENSOR = 1e-2;
/* bf16: all gradients together, in parts of their size. These networks see few numbers, so single
 * ReLUs that turn count: 0.06 is usual, 0.2 the most that was found, with oneDNN's convolutions as
 * with ours. A wrong gradient is off by 1 and more. */
static const double BF16_SLACK = 0.3;
/* Least distance from a kink; executors are as far off the twin at most. */
static const double MARGIN = 1e-5;

/* ---- the cases: each appends its body to a graph and gives the last node ---- */

#define CONV(graph, input, ...) sketch_conv(graph, input, (struct conv_attributes){__VA_ARGS__})

static int conv(struct graph *g)
{
    return CONV(g, 0, 17, 3, 1, 1, 1);
}

static int strided_conv_with_bias(struct graph *g)
{
    return CONV(g, 0, 33, 3, 2, 1, 1, true);
}

static int conv_and_relu(struct graph *g)
{
    int x = sketch_relu(g, CONV(g, 0, 17, 3, 1, 1, 1, true));
    return sketch_relu(g, CONV(g, x, 5, 1, 1, 0, 1, true));
}

static int convs_and_relus(struct graph *g)
{
    int x = sketch_relu(g, CONV(g, 0, 17, 3, 1, 1, 1, true));
    return sketch_relu(g, CONV(g, x, 16, 3, 1, 1, 1, true));
}

static int convs_and_batch_norms(struct graph *g)
{
    int x = sketch_batch_norm(g, CONV(g, 0, 17, 3, 1, 1, 1));
    return sketch_batch_norm(g, CONV(g, x, 5, 3, 1, 1, 1));
}

static int convs_in_groups(struct graph *g)
{
    int x = CONV(g, 0, 10, 3, 1, 1, 2);
    return CONV(g, x, 32, 3, 2, 1, 2, true);
}

static int depthwise_convs(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 6, 3, 1, 1, 6)));
    x = sketch_relu(g, sketch_batch_norm(g, CONV(g, x, 17, 1, 1, 0, 1)));
    return sketch_relu(g, CONV(g, x, 17, 5, 2, 2, 17, true));
}

/* As in MobileNet: batch norms on either side, both strides; the last one's result is not
 * normalised. */
static int depthwise_between_batch_norms(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 17, 1, 1, 0, 1)));
    x = sketch_relu(g, sketch_batch_norm(g, CONV(g, x, 17, 3, 1, 1, 17)));
    x = sketch_batch_norm(g, CONV(g, x, 17, 3, 2, 1, 17));
    return CONV(g, x, 17, 3, 1, 1, 17);
}

/* What stands beside is read by others too, or is no batch norm. */
static int depthwise_among_others(struct graph *g)
{
    int x = CONV(g, 0, 17, 1, 1, 0, 1);
    int y = sketch_batch_norm(g, CONV(g, x, 17, 3, 1, 1, 17));
    y = sketch_relu(g, sketch_add(g, y, x));
    int z = sketch_relu(g, sketch_batch_norm(g, CONV(g, y, 17, 3, 1, 1, 17)));
    z = sketch_add(g, CONV(g, z, 17, 3, 1, 1, 17), z);
    int w = CONV(g, z, 17, 3, 2, 1, 17);
    return sketch_add(g, sketch_batch_norm(g, w), w);
}

static int depthwise_conv_of_the_images(struct graph *g)
{
    return CONV(g, 0, 3, 3, 1, 1, 3);
}

static int batch_norm(struct graph *g)
{
    return sketch_batch_norm(g, 0);
}

static int batch_norm_and_relu(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 33, 1, 1, 0, 1)));
    return sketch_relu(g, sketch_batch_norm(g, CONV(g, x, 5, 3, 1, 1, 1, true)));
}

/* The residual block of He et al.; shortcut gives the side's node. */
static int block(struct graph *g, int x, int channels, int stride,
                 int (*shortcut)(struct graph *, int x, int channels, int stride))
{
    int y = sketch_relu(g, sketch_batch_norm(g, CONV(g, x, channels, 3, stride, 1, 1)));
    y = sketch_batch_norm(g, CONV(g, y, channels, 3, 1, 1, 1));
    int side = shortcut ? shortcut(g, x, channels, stride) : x;
    return sketch_relu(g, sketch_add(g, y, side));
}

static int option_b(struct graph *g, int x, int channels, int stride)
{
    return sketch_batch_norm(g, CONV(g, x, channels, 1, stride, 0, 1));
}

static int residual_identity(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 5, 3, 1, 1, 1)));
    return block(g, block(g, x, 5, 1, NULL), 5, 1, NULL);
}

static int residual_shortcut_a(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 5, 3, 1, 1, 1)));
    return block(g, x, 17, 2, sketch_shortcut_a);
}

static int residual_option_b(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 5, 3, 1, 1, 1)));
    return block(g, x, 17, 2, option_b);
}

static int residual_without_relu(struct graph *g)
{
    int x = CONV(g, 0, 5, 1, 1, 0, 1);
    x = sketch_add(g, x, sketch_batch_norm(g, x));
    return sketch_add(g, sketch_batch_norm(g, CONV(g, x, 5, 3, 1, 1, 1)), x);
}

static int residual_of_the_images(struct graph *g)
{
    return sketch_relu(g, sketch_add(g, 0, sketch_batch_norm(g, CONV(g, 0, 5, 3, 1, 1, 1))));
}

/* The sum is the convolution's own: inference adds in place where it may. */
static int conv_and_add(struct graph *g)
{
    int x = sketch_relu(g, CONV(g, 0, 5, 3, 1, 1, 1)), y = CONV(g, x, 5, 1, 1, 0, 1);
    return sketch_relu(g, sketch_add(g, CONV(g, x, 5, 3, 1, 1, 1), y));
}

/* The convolution reads what is added to its output. */
static int conv_and_its_source(struct graph *g)
{
    int x = sketch_relu(g, CONV(g, 0, 17, 3, 1, 1, 1));
    return sketch_add(g, CONV(g, x, 17, 3, 1, 1, 1), x);
}

/* So does this one: at inference a dropout's output is its input. */
static int conv_and_its_source_through_dropout(struct graph *g)
{
    int x = sketch_relu(g, CONV(g, 0, 17, 3, 1, 1, 1)), y = sketch_dropout(g, x, 0.3);
    return sketch_add(g, CONV(g, x, 17, 3, 1, 1, 1), y);
}

/* The first sum may not be made in x's place: the second one reads x through the dropout. */
static int dropout_beside_a_sum(struct graph *g)
{
    int x = sketch_relu(g, CONV(g, 0, 5, 3, 1, 1, 1)), y = sketch_dropout(g, x, 0.3);
    int z = CONV(g, 0, 5, 1, 1, 0, 1);
    z = sketch_add(g, CONV(g, z, 5, 3, 1, 1, 1), x);
    return sketch_add(g, CONV(g, z, 5, 3, 1, 1, 1), y);
}

static int three_readers(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 17, 3, 1, 1, 1)));
    int a = CONV(g, x, 17, 1, 1, 0, 1), b = sketch_max_pool(g, x, 1, 1);
    return sketch_add(g, sketch_add(g, a, b), x);
}

static int tap_in_the_middle(struct graph *g)
{
    int x = sketch_batch_norm(g, CONV(g, 0, 5, 3, 1, 1, 1));
    assert_ok(graph_tap(g, "norm", x));
    x = sketch_relu(g, x);
    assert_ok(graph_tap(g, "relu", x));
    x = CONV(g, x, 17, 3, 2, 1, 1);
    assert_ok(graph_tap(g, "conv", x));
    return sketch_relu(g, sketch_batch_norm(g, x));
}

static int two_taps_of_one_node(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 5, 3, 1, 1, 1)));
    assert_ok(graph_tap(g, "one", x));
    assert_ok(graph_tap(g, "two", x));
    return sketch_add(g, CONV(g, x, 5, 1, 1, 0, 1), x);
}

static int relu_alone(struct graph *g)
{
    int x = CONV(g, 0, 17, 1, 1, 0, 1);
    return sketch_add(g, sketch_relu(g, x), x);
}

static int relu_of_the_images(struct graph *g)
{
    return sketch_relu(g, 0);
}

static int add_alone(struct graph *g)
{
    int x = sketch_max_pool(g, 0, 2, 1);
    return sketch_relu(g, sketch_add(g, x, x));
}

static int overlapping_max_pool(struct graph *g)
{
    int x = sketch_relu(g, CONV(g, 0, 17, 3, 1, 1, 1));
    return sketch_max_pool(g, x, 3, 2);
}

static int max_pool(struct graph *g)
{
    return sketch_max_pool(g, 0, 2, 2);
}

static int average_pool(struct graph *g)
{
    int x = sketch_global_avg_pool(g, CONV(g, 0, 17, 1, 1, 0, 1));
    return CONV(g, x, 5, 1, 1, 0, 1, true);
}

static int linears(struct graph *g)
{
    int x = sketch_linear(g, 0, 17);
    x = sketch_relu(g, x);
    return sketch_linear(g, sketch_relu(g, sketch_linear(g, x, 5)), 6);
}

/* What reads the vectors of linear layers in their own layout. */
static int vectors(struct graph *g)
{
    int x = sketch_linear(g, 0, 19);
    int y = sketch_add(g, sketch_dropout(g, x, 0.5), sketch_relu(g, x));
    return sketch_relu(g, sketch_add(g, y, sketch_linear(g, x, 19)));
}

static int shortcut_a(struct graph *g)
{
    return sketch_shortcut_a(g, sketch_shortcut_a(g, 0, 17, 1), 33, 2);
}

static int dropout(struct graph *g)
{
    int x = sketch_dropout(g, sketch_relu(g, CONV(g, 0, 17, 3, 1, 1, 1)), 0.4);
    return sketch_dropout(g, sketch_relu(g, sketch_linear(g, x, 19)), 0.25);
}

static int everything_in_a_row(struct graph *g)
{
    int x = sketch_relu(g, sketch_batch_norm(g, CONV(g, 0, 16, 3, 1, 1, 1)));
    x = sketch_max_pool(g, block(g, x, 16, 1, NULL), 2, 2);
    x = block(g, x, 32, 2, sketch_shortcut_a);
    return sketch_relu(g, sketch_linear(g, x, 10));
}

struct network_case {
    const char *name;
    int (*body)(struct graph *graph);
    int batch;
    struct shape input;
    const char *own; /* the convolution of ours that takes part: every way, where the machine has
                        kernels for it; depthwise in training */
};
#define WINOGRAD  "winograd"
#define DEPTHWISE "conv depthwise"
#define CASE(name, ...)                                                                            \
    {                                                                                              \
#name, name, __VA_ARGS__                                                                   \
    }
static const struct network_case cases[] = {
    CASE(conv, 2, {5, 6, 7}),
    CASE(conv, 1, {3, 5, 5}),
    CASE(strided_conv_with_bias, 2, {5, 6, 7}),
    CASE(conv_and_relu, 2, {3, 6, 5}),
    CASE(convs_and_relus, 2, {3, 8, 6}, WINOGRAD),
    CASE(convs_and_relus, 1, {5, 7, 9}, WINOGRAD),
    CASE(convs_and_batch_norms, 2, {3, 8, 6}, WINOGRAD),
    CASE(convs_and_batch_norms, 2, {5, 7, 5}, WINOGRAD),
    CASE(convs_in_groups, 2, {6, 5, 6}),
    CASE(depthwise_convs, 2, {6, 5, 6}),
    CASE(depthwise_between_batch_norms, 2, {3, 6, 5}, DEPTHWISE),
    CASE(depthwise_between_batch_norms, 3, {5, 3, 9}, DEPTHWISE),
    CASE(depthwise_among_others, 2, {3, 5, 6}, DEPTHWISE),
    CASE(depthwise_conv_of_the_images, 2, {3, 5, 6}),
    CASE(batch_norm, 3, {17, 3, 3}),
    CASE(batch_norm_and_relu, 2, {3, 5, 6}, WINOGRAD),
    CASE(batch_norm_and_relu, 1, {17, 3, 5}, WINOGRAD),
    CASE(residual_identity, 2, {3, 5, 6}, WINOGRAD),
    CASE(residual_identity, 1, {3, 9, 7}, WINOGRAD),
    CASE(residual_shortcut_a, 2, {3, 5, 6}, WINOGRAD),
    CASE(residual_option_b, 2, {3, 5, 6}, WINOGRAD),
    CASE(residual_without_relu, 2, {3, 5, 6}, WINOGRAD),
    CASE(residual_of_the_images, 2, {5, 4, 5}, WINOGRAD),
    CASE(conv_and_add, 2, {3, 5, 6}, WINOGRAD),
    CASE(conv_and_add, 1, {5, 7, 9}, WINOGRAD),
    CASE(conv_and_its_source, 2, {3, 5, 6}, WINOGRAD),
    CASE(conv_and_its_source_through_dropout, 2, {3, 5, 6}, WINOGRAD),
    CASE(dropout_beside_a_sum, 2, {3, 5, 6}, WINOGRAD),
    CASE(three_readers, 2, {3, 5, 6}),
    CASE(tap_in_the_middle, 2, {3, 5, 6}),
    CASE(two_taps_of_one_node, 2, {3, 5, 6}),
    CASE(relu_alone, 2, {5, 5, 6}),
    CASE(relu_of_the_images, 3, {3, 5, 6}),
    CASE(add_alone, 2, {5, 5, 6}),
    CASE(overlapping_max_pool, 2, {3, 8, 9}),
    CASE(max_pool, 2, {17, 5, 7}),
    CASE(average_pool, 2, {3, 5, 6}),
    CASE(linears, 3, {3, 4, 5}),
    CASE(linears, 1, {1, 4, 5}),
    CASE(vectors, 3, {3, 4, 5}),
    CASE(shortcut_a, 2, {5, 5, 6}),
    CASE(dropout, 2, {3, 5, 6}),
    CASE(everything_in_a_row, 2, {3, 8, 8}, WINOGRAD),
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

/* ---- one network, run one way ---- */

enum way { TRAIN_PLAIN, TRAIN_TAPPED, INFER_PLAIN, INFER_TAPPED };
static const char *const way_names[] = {"trained", "trained with taps", "inferred",
                                        "inferred with taps"};

struct problem {
    const struct network_case *what;
    enum way way;
    enum executor_convolutions convolutions;
    struct model model;
    struct executor *executor;
    void *workspace;
    struct reference twin;
    int tap_count;
    float *images, *logits, *taps[MOST_TAPS]; /* weights in the loss, for the latter two */
    double largest;                           /* gradient of all */
};

static const char *name_of_way(const struct problem *problem)
{
    static char text[64];
    static const char *const how[] = {"", "", " directly", " with channels last"};
    snprintf(text, sizeof(text), "%s%s", way_names[problem->way], how[problem->convolutions]);
    return text;
}

static bool trains(const struct problem *problem)
{
    return problem->way == TRAIN_PLAIN || problem->way == TRAIN_TAPPED;
}

static void make_model(struct problem *problem)
{
    struct graph graph;
    sketch_begin(&graph, problem->what->input);
    int x = problem->what->body(&graph);
    assert_ok(graph_tap(&graph, "body", x));
    if (problem->way == TRAIN_TAPPED && graph.nodes[x].shape.h > 1)
        x = sketch_global_avg_pool(&graph, x);
    sketch_linear(&graph, x, CLASSES);
    sketch_model(&graph, SEED, &problem->model);
}

/* Its workspace is full of NaN: whatever is read before it is written shows. */
static void make_executor(struct problem *problem, const struct executor_options *options)
{
    assert_ok(executor_create(&problem->model.graph, options, &problem->executor));
    const size_t bytes = executor_workspace(problem->executor);
    assert_ok(memory_aligned(bytes, &problem->workspace));
    memset(problem->workspace, 0xff, bytes);
    assert_ok(executor_bind(problem->executor, problem->workspace));
    assert_ok(executor_load(problem->executor, &problem->model));
}

/* A case that is meant for a convolution of ours would prove nothing without it. */
static void check_steps(const struct problem *problem)
{
    const struct winograd common = {PRECISION_F32, 1, 8, 8, 8, 8, dnn_block(), 1};
    const char *own = problem->what->own;
    if (problem->convolutions == CONVOLUTIONS_DIRECT &&
        sketch_has_own_convolution(problem->executor))
        fail_msg("%s, %s: a convolution of ours is taken", problem->what->name,
                 name_of_way(problem));
    if (problem->convolutions == CONVOLUTIONS_DIRECT || !own ||
        (strcmp(own, WINOGRAD) == 0 ? !winograd_fits(&common) : !trains(problem)))
        return;
    if (!sketch_has_step(problem->executor, own))
        fail_msg("%s, %s: %s is not taken", problem->what->name, name_of_way(problem), own);
}

static void open_problem(struct problem *problem, const struct network_case *what, enum way way,
                         enum executor_convolutions convolutions, enum precision precision)
{
    const bool tapped = way == TRAIN_TAPPED || way == INFER_TAPPED;
    int taps[MOST_TAPS];
    bool diffs[MOST_TAPS];
    *problem = (struct problem){.what = what, .way = way, .convolutions = convolutions};
    make_model(problem);
    problem->tap_count = tapped ? problem->model.graph.tap_count : 0;
    assert_true(problem->tap_count <= MOST_TAPS);
    for (int i = 0; i < problem->tap_count; i++) {
        taps[i] = i;
        diffs[i] = true;
    }
    make_executor(problem, &(struct executor_options){.batch = what->batch,
                                                      .mode = trains(problem) ? EXECUTOR_TRAIN
                                                                              : EXECUTOR_INFER,
                                                      .seed = SEED,
                                                      .tap_count = problem->tap_count,
                                                      .taps = taps,
                                                      .tap_diffs = diffs,
                                                      .input_diff = way == TRAIN_PLAIN,
                                                      .convolutions = convolutions,
                                                      .precision = precision});
    if (precision == PRECISION_F32)
        check_steps(problem);
    struct reference *twin = &problem->twin;
    reference_create(twin, &problem->model, what->batch, trains(problem));
    twin->seed = SEED;
    twin->step = STEP;
    problem->images = sketch_numbers(reference_count(twin, 0), 11);
    problem->logits = sketch_numbers((size_t)what->batch * CLASSES, 12);
    for (int i = 0; i < problem->tap_count; i++)
        problem->taps[i] = sketch_numbers(reference_count(twin, problem->model.graph.taps[i].node),
                                          13 + (uint64_t)i);
    reference_images(twin, problem->images);
}

static void close_problem(struct problem *problem)
{
    free(problem->images);
    free(problem->logits);
    for (int i = 0; i < problem->tap_count; i++)
        free(problem->taps[i]);
    reference_release(&problem->twin);
    executor_destroy(problem->executor);
    free(problem->workspace);
    model_release(&problem->model);
}

/* ---- forward ---- */

static void check_values(const struct problem *problem, const char *name, const float *found,
                         const double *wanted, size_t count)
{
    double largest = 1e-30;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(wanted[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)found[i] - wanted[i]) <= VALUE_TOLERANCE * largest))
            fail_msg("%s, %s: number %zu of %s: %.9g found, %.9g wanted, within %.3g",
                     problem->what->name, name_of_way(problem), i, name, found[i], wanted[i],
                     VALUE_TOLERANCE * largest);
}

/* Beyond its channels a blocked map holds zeros. */
static void check_padding(const struct problem *problem, const char *name, struct tensor map)
{
    const size_t count = tensor_count(&map);
    float *plain = sketch_plain(map), *again = calloc(count, sizeof(*again));
    struct tensor copy = map;
    assert_non_null(again);
    copy.data = again;
    tensor_from_plain(plain, &copy);
    if (memcmp(again, map.data, count * sizeof(*again)))
        fail_msg("%s, %s: %s: the padding is not zero", problem->what->name, name_of_way(problem),
                 name);
    free(again);
    free(plain);
}

static void check_forward(struct problem *problem)
{
    const struct graph *graph = &problem->model.graph;
    struct reference *twin = &problem->twin;
    reference_forward(twin);
    executor_forward(problem->executor, problem->images, STEP);
    assert_ok(executor_status(problem->executor));
    for (int i = 0; i < problem->tap_count; i++) {
        const struct tensor map = executor_tap(problem->executor, i);
        float *plain = sketch_plain(map);
        check_values(problem, graph->taps[i].name, plain, twin->values[graph->taps[i].node],
                     reference_count(twin, graph->taps[i].node));
        check_padding(problem, graph->taps[i].name, map);
        free(plain);
    }
    check_values(problem, "the logits", executor_logits(problem->executor),
                 twin->values[graph->node_count - 1], (size_t)twin->batch * CLASSES);
}

static void check_running(struct problem *problem)
{
    const struct graph *graph = &problem->model.graph;
    struct model found = {.graph = *graph, .values = sketch_values(graph)};
    assert_ok(executor_store(problem->executor, &found));
    for (int i = 0; i < graph->parameter_count; i++)
        if (!parameter_trains(&graph->parameters[i]))
            check_values(problem, graph->parameters[i].name, found.values[i],
                         problem->twin.after[i], parameter_count(&graph->parameters[i]));
    sketch_values_release(graph, found.values);
}

/* ---- backward ---- */

static double dot(const double *values, const float *weights, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i] * (double)weights[i];
    return sum;
}

static double loss(struct problem *problem)
{
    const struct graph *graph = &problem->model.graph;
    const struct reference *twin = &problem->twin;
    reference_forward(&problem->twin);
    double sum =
        dot(twin->values[graph->node_count - 1], problem->logits, (size_t)twin->batch * CLASSES);
    for (int i = 0; i < problem->tap_count; i++)
        sum += dot(twin->values[graph->taps[i].node], problem->taps[i],
                   reference_count(twin, graph->taps[i].node));
    return sum;
}

static double loss_beside(struct problem *problem, double *numbers, size_t count,
                          const double *direction, double distance)
{
    double before[count];
    memcpy(before, numbers, sizeof(before));
    for (size_t i = 0; i < count; i++)
        numbers[i] += distance * direction[i];
    double found = loss(problem);
    memcpy(numbers, before, sizeof(before));
    return found;
}

/* The slope of the loss when `numbers` of the twin move along a direction. */
static double slope(struct problem *problem, double *numbers, size_t count, const double *direction)
{
    const uint64_t branches = (loss(problem), problem->twin.branches);
    for (double step = 1e-5; step > 1e-10; step /= 10) {
        double above = loss_beside(problem, numbers, count, direction, step);
        bool same = problem->twin.branches == branches;
        double below = loss_beside(problem, numbers, count, direction, -step);
        if (same && problem->twin.branches == branches)
            return (above - below) / (2 * step);
    }
    fail_msg("%s: a kink is too near: choose another seed", problem->what->name);
    return 0;
}

static void check_slope(struct problem *problem, const char *name, double found, double wanted,
                        double tolerance)
{
    if (!(fabs(found - wanted) <= tolerance))
        fail_msg("%s, %s: gradient of %s: %.9g found, %.9g wanted, within %.3g",
                 problem->what->name, name_of_way(problem), name, found, wanted, tolerance);
}

static double largest_of(const float *numbers, size_t count)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)numbers[i]));
    return largest;
}

static void check_gradient(struct problem *problem, const char *name, const float *gradient,
                           double *numbers, size_t count)
{
    const struct random_stream stream = random_stream(SEED, RANDOM_TEST, 1, 1);
    const double scale =
        fmax(largest_of(gradient, count), SMALL_TENSOR * problem->largest) * SLOPE_TOLERANCE;
    const double one = 1;
    double direction[count], along = 0;
    char place[128];
    for (size_t k = 0; k < EVERY && k < count; k++) {
        const size_t i = count <= EVERY ? k : k * (count - 1) / (EVERY - 1);
        snprintf(place, sizeof(place), "%s[%zu]", name, i);
        check_slope(problem, place, (double)gradient[i], slope(problem, numbers + i, 1, &one),
                    scale);
    }
    for (size_t i = 0; i < count; i++) {
        direction[i] = random_bits(&stream, i) & 1 ? 1 : -1;
        along += direction[i] * (double)gradient[i];
    }
    check_slope(problem, name, along, slope(problem, numbers, count, direction),
                scale * sqrt((double)count));
}

static void give_gradients(struct problem *problem)
{
    memcpy(executor_diff_logits(problem->executor), problem->logits,
           (size_t)problem->what->batch * CLASSES * sizeof(float));
    for (int i = 0; i < problem->tap_count; i++) {
        const struct tensor diff = executor_diff_tap(problem->executor, i);
        tensor_from_plain(problem->taps[i], &diff);
    }
}

/* A step with other images and masks, of which nothing may be left. */
static void run_another_step(struct problem *problem)
{
    float *images = sketch_numbers(reference_count(&problem->twin, 0), 77);
    executor_forward(problem->executor, images, STEP + 1);
    give_gradients(problem);
    executor_backward(problem->executor);
    assert_ok(executor_load(problem->executor, &problem->model)); /* running statistics */
    free(images);
}

static void check_backward(struct problem *problem)
{
    const struct graph *graph = &problem->model.graph;
    float **gradients = sketch_values(graph);
    give_gradients(problem);
    executor_backward(problem->executor);
    assert_ok(executor_status(problem->executor));
    assert_ok(executor_flat_to_plain(problem->executor,
                                     executor_parameters(problem->executor).gradients, gradients));
    for (int i = 0; i < graph->parameter_count; i++)
        problem->largest = fmax(problem->largest,
                                largest_of(gradients[i], parameter_count(&graph->parameters[i])));
    for (int i = 0; i < graph->parameter_count; i++)
        if (parameter_trains(&graph->parameters[i]))
            check_gradient(problem, graph->parameters[i].name, gradients[i],
                           problem->twin.parameters[i], parameter_count(&graph->parameters[i]));
    if (problem->way == TRAIN_PLAIN) {
        const struct tensor diff = executor_input_diff(problem->executor);
        float *plain = sketch_plain(diff);
        check_gradient(problem, "the input", plain, problem->twin.values[0],
                       reference_count(&problem->twin, 0));
        check_padding(problem, "the input's gradient", diff);
        free(plain);
    }
    sketch_values_release(graph, gradients);
}

/* ---- the tests ---- */

/* Each says whether a convolution of ours took part. */
static bool train(const struct network_case *what, enum way way,
                  enum executor_convolutions convolutions)
{
    struct problem problem;
    open_problem(&problem, what, way, convolutions, PRECISION_F32);
    run_another_step(&problem);
    check_forward(&problem);
    if (!(problem.twin.margin > MARGIN))
        fail_msg("%s: %g from a kink: choose another seed", what->name, problem.twin.margin);
    check_running(&problem);
    check_backward(&problem);
    const bool taken = sketch_has_own_convolution(problem.executor);
    close_problem(&problem);
    return taken;
}

static bool infer(const struct network_case *what, enum way way,
                  enum executor_convolutions convolutions)
{
    struct problem problem;
    open_problem(&problem, what, way, convolutions, PRECISION_F32);
    check_forward(&problem);
    const bool taken = sketch_has_own_convolution(problem.executor);
    close_problem(&problem);
    return taken;
}

static void training_agrees_with_the_slow_twin_and_its_slopes(void **state)
{
    for (enum way way = TRAIN_PLAIN; way <= TRAIN_TAPPED; way++)
        if (train(*state, way, CONVOLUTIONS_OWN))
            train(*state, way, CONVOLUTIONS_DIRECT);
}

static void inference_agrees_with_the_slow_twin(void **state)
{
    for (enum way way = INFER_PLAIN; way <= INFER_TAPPED; way++)
        if (infer(*state, way, CONVOLUTIONS_OWN))
            infer(*state, way, CONVOLUTIONS_DIRECT);
}

static void run_step(struct problem *problem)
{
    executor_forward(problem->executor, problem->images, STEP);
    give_gradients(problem);
    executor_backward(problem->executor);
    assert_ok(executor_status(problem->executor));
}

static void compare_precisions(const struct network_case *what, enum way way,
                               enum executor_convolutions convolutions)
{
    struct problem f32, bf16;
    open_problem(&f32, what, way, convolutions, PRECISION_F32);
    open_problem(&bf16, what, way, convolutions, PRECISION_BF16);
    run_step(&f32);
    run_step(&bf16);
    const struct parameter_view wanted = executor_parameters(f32.executor);
    const struct graph *graph = &f32.model.graph;
    float **exact = sketch_values(graph), **rounded = sketch_values(graph);
    assert_ok(executor_flat_to_plain(f32.executor, wanted.gradients, exact));
    assert_ok(executor_flat_to_plain(bf16.executor, executor_parameters(bf16.executor).gradients,
                                     rounded));
    double difference = 0, size = 0;
    for (int i = 0; i < graph->parameter_count; i++)
        for (size_t k = 0; k < parameter_count(&graph->parameters[i]); k++) {
            difference += pow((double)rounded[i][k] - (double)exact[i][k], 2);
            size += pow((double)exact[i][k], 2);
        }
    if (!(sqrt(difference / size) <= BF16_SLACK))
        fail_msg("%s, %s: the gradient in bf16 is off by %.3g of its size, at most %.3g wanted",
                 what->name, name_of_way(&bf16), sqrt(difference / size), BF16_SLACK);
    sketch_values_release(graph, exact);
    sketch_values_release(graph, rounded);
    close_problem(&f32);
    close_problem(&bf16);
}

static void training_in_bf16_agrees_with_f32(void **state)
{
    if (!dnn_has_bf16())
        skip();
    for (enum way way = TRAIN_PLAIN; way <= TRAIN_TAPPED; way++)
        for (int how = CONVOLUTIONS_OWN; how <= CONVOLUTIONS_CHANNELS_LAST; how++)
            compare_precisions(*state, way, (enum executor_convolutions)how);
}

static void every_operator_has_a_case(void **state)
{
    bool seen[OP_COUNT] = {[OP_input] = true};
    for (size_t i = 0; i < CASES; i++) {
        struct graph graph;
        sketch_begin(&graph, cases[i].input);
        cases[i].body(&graph);
        for (int k = 0; k < graph.node_count; k++)
            seen[graph.nodes[k].kind] = true;
        graph_release(&graph);
    }
    for (int i = 0; i < OP_COUNT; i++)
        if (!seen[i])
            fail_msg("no case for %s", op_of((enum op_kind)i)->name);
}

int main(void)
{
    static const struct {
        const char *sentence;
        CMUnitTestFunction run;
    } sentences[] = {
        {"training agrees with the slow twin and its slopes",
         training_agrees_with_the_slow_twin_and_its_slopes},
        {"inference agrees with the slow twin", inference_agrees_with_the_slow_twin},
        {"training in bf16 agrees with f32", training_in_bf16_agrees_with_f32},
    };
    enum { SENTENCES = sizeof(sentences) / sizeof(sentences[0]) };
    static char names[SENTENCES * CASES][96];
    struct CMUnitTest tests[SENTENCES * CASES + 1] = {cmocka_unit_test(every_operator_has_a_case)};
    for (size_t i = 0; i < SENTENCES * CASES; i++) {
        snprintf(names[i], sizeof(names[i]), "%s: %s", sentences[i % SENTENCES].sentence,
                 cases[i / SENTENCES].name);
        tests[i + 1] = (struct CMUnitTest){names[i], sentences[i % SENTENCES].run, NULL, NULL,
                                           (void *)&cases[i / SENTENCES]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
