/* test_networks.c - whole networks against an outside implementation: logits, taps, every gradient,
 * running statistics, the state after three optimizer steps, and inference afterwards.
 *
 * Tolerance: a multiple of what the outside float32 run lost against float64 (golden/README.md):
 * sums are taken in another order here, and Winograd's convolution rounds about twice as much as a
 * plain sum. Networks run with it and without, in bf16 also with channels last, where the processor
 * has it: then a share of the numbers themselves, see golden_share. */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "nn/engine/executor.h"
#include "nn/engine/onednn.h"
#include "train/optimizer.h"

enum { MULTIPLE = 8, MULTIPLE_WINOGRAD = 16, BATCH = 4, CLASSES = 10 };
static enum executor_convolutions convolutions;
static enum precision precision;
static const double SHARE = 0.05; /* bf16: values, in parts of themselves */
static double slack;

static double multiple(void)
{
    return precision == PRECISION_BF16           ? golden_share(SHARE)
           : convolutions == CONVOLUTIONS_DIRECT ? MULTIPLE
                                                 : MULTIPLE_WINOGRAD;
}

/* slack: how far bf16 gradients may be off, in parts of themselves. Rounded to 8 bits, some numbers
 * fall to the other side of a ReLU or change places in a window of a max pool, and these networks
 * see four images only; oneDNN's own bf16 convolutions are off by 0.15 to 0.2, MobileNet by 0.5. A
 * wrong gradient is off by 1 and more. */
struct network_case {
    const char *golden, *network;
    double slack;
};
static const struct network_case cases[] = {
    {"net_resnet8_a", "resnet:depth=8,widths=8-8-16-32", 0.25},
    {"net_resnet8_b", "resnet:depth=8,widths=8-8-16-32,shortcut=B", 0.25},
    {"net_vgg6", "vgg:depth=6,width=0.125,hidden=32,bn=false", 0.25},
    {"net_vgg6_bn", "vgg:depth=6,width=0.125,hidden=32", 0.25},
    {"net_mobilenet", "mobilenet:blocks=1-1-1-1-1,width=0.125", 0.6},
};

static struct golden_dims dims_of(const struct parameter *parameter)
{
    struct golden_dims dims = {.rank = parameter->rank};
    for (int i = 0; i < parameter->rank; i++)
        dims.dims[i] = parameter->dims[i];
    return dims;
}

static void load_model(const struct golden *golden, const char *network, struct model *model)
{
    struct graph graph;
    char name[256];
    assert_ok(network_build(network, CLASSES, (struct shape){3, 32, 32}, &graph));
    assert_ok(model_create(&graph, model));
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *p = &model->graph.parameters[i];
        snprintf(name, sizeof(name), "init.%s", p->name);
        memcpy(model->values[i], golden_floats(golden, name, dims_of(p)),
               parameter_count(p) * sizeof(float));
    }
}

/* Mean cross-entropy and its gradient, in double: this test is about networks, not losses. */
static double cross_entropy(const float *logits, const int32_t *labels, float *diff)
{
    double loss = 0;
    for (int n = 0; n < BATCH; n++, logits += CLASSES, diff += CLASSES) {
        double largest = -INFINITY, sum = 0;
        for (int c = 0; c < CLASSES; c++)
            largest = fmax(largest, logits[c]);
        for (int c = 0; c < CLASSES; c++)
            sum += exp(logits[c] - largest);
        loss += log(sum) + largest - logits[labels[n]];
        for (int c = 0; c < CLASSES; c++)
            diff[c] = (float)((exp(logits[c] - largest) / sum - (c == labels[n])) / BATCH);
    }
    return loss / BATCH;
}

static void check_taps(const struct golden *golden, const struct graph *graph,
                       const struct executor *executor)
{
    char name[256];
    for (int i = 0; i < graph->tap_count; i++) {
        struct tensor tap = executor_tap(executor, i);
        float *plain = malloc((size_t)tap.n * tap.c * tap.h * tap.w * sizeof(float));
        tensor_to_plain(&tap, plain);
        snprintf(name, sizeof(name), "tap.%s", graph->taps[i].name);
        golden_check(golden, name, plain, "taps", multiple());
        free(plain);
    }
}

/* Every tensor of one kind, e.g. all gradients. */
static void check_parameters(const struct golden *golden, const char *prefix, const char *group,
                             bool trained, const struct model *model)
{
    char name[256];
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *p = &model->graph.parameters[i];
        if (parameter_trains(p) != trained)
            continue;
        snprintf(name, sizeof(name), "%s.%s", prefix, p->name);
        golden_check(golden, name, model->values[i], group, multiple());
    }
}

/* All gradients together: single ones of a few numbers say little. */
static void check_bf16_gradient(const struct golden *golden, const struct model *gradients)
{
    double difference = 0, size = 0;
    char name[256];
    for (int i = 0; i < gradients->graph.parameter_count; i++) {
        const struct parameter *p = &gradients->graph.parameters[i];
        if (!parameter_trains(p))
            continue;
        snprintf(name, sizeof(name), "grad.%s", p->name);
        const float *wanted = golden_floats(golden, name, dims_of(p));
        for (size_t k = 0; k < parameter_count(p); k++) {
            difference += pow((double)gradients->values[i][k] - (double)wanted[k], 2);
            size += pow((double)wanted[k], 2);
        }
    }
    if (!(sqrt(difference / size) <= slack))
        fail_msg("%s: the gradient in bf16 is off by %.3g of its size, at most %.3g wanted",
                 golden->name, sqrt(difference / size), slack);
}

static void load_trained(const struct golden *golden, struct model *model)
{
    char name[256];
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *p = &model->graph.parameters[i];
        snprintf(name, sizeof(name), "step3.%s", p->name);
        memcpy(model->values[i], golden_floats(golden, name, dims_of(p)),
               parameter_count(p) * sizeof(float));
    }
}

/* In bf16 one step: from then on the networks are others. */
static void train_steps(const struct golden *golden, struct model *model, int tap_count,
                        const int *taps)
{
    const struct executor_options options = {.batch = BATCH,
                                             .mode = EXECUTOR_TRAIN,
                                             .tap_count = tap_count,
                                             .taps = taps,
                                             .convolutions = convolutions,
                                             .precision = precision};
    const struct recipe_train train = {.momentum = 0.9, .nesterov = true, .weight_decay = 5e-4};
    const float *input = golden_floats(golden, "input", GOLDEN_DIMS(BATCH, 3, 32, 32));
    const int32_t *labels = golden_ints(golden, "labels", GOLDEN_DIMS(BATCH));
    struct executor *executor;
    struct optimizer optimizer;
    struct model gradients;
    char key[32];
    assert_ok(executor_create(&model->graph, &options, &executor));
    assert_ok(executor_bind(executor, NULL));
    assert_ok(executor_load(executor, model));
    assert_ok(optimizer_create(executor, &model->graph, &train, &optimizer));
    assert_ok(model_copy(model, &gradients));
    const int steps = precision == PRECISION_BF16 ? 1 : 3;
    for (int step = 1; step <= steps; step++) {
        executor_forward(executor, input, 0);
        double loss =
            cross_entropy(executor_logits(executor), labels, executor_diff_logits(executor));
        snprintf(key, sizeof(key), "loss.step%d", step);
        golden_check_number(golden, key, loss, "loss", multiple());
        if (step == 1) {
            golden_check(golden, "logits", executor_logits(executor), "logits", multiple());
            check_taps(golden, &model->graph, executor);
            assert_ok(executor_store(executor, model));
            check_parameters(golden, "running1", "running", false, model);
        }
        executor_backward(executor);
        assert_ok(executor_status(executor));
        if (step == 1) {
            assert_ok(executor_flat_to_plain(executor, optimizer.view.gradients, gradients.values));
            if (precision == PRECISION_BF16)
                check_bf16_gradient(golden, &gradients);
            else
                check_parameters(golden, "grad", "grad", true, &gradients);
        }
        optimizer_step(&optimizer, golden_number(golden, "lr"), 1);
    }
    if (precision == PRECISION_BF16) {
        load_trained(golden, model);
    } else {
        assert_ok(executor_store(executor, model));
        check_parameters(golden, "step3", "state3", true, model);
        check_parameters(golden, "step3", "state3", false, model);
    }
    model_release(&gradients);
    optimizer_release(&optimizer);
    executor_destroy(executor);
}

static void infer(const struct golden *golden, const struct model *model, int tap_count,
                  const int *taps)
{
    const struct executor_options options = {.batch = BATCH,
                                             .mode = EXECUTOR_INFER,
                                             .tap_count = tap_count,
                                             .taps = taps,
                                             .convolutions = convolutions,
                                             .precision = precision};
    struct executor *executor;
    assert_ok(executor_create(&model->graph, &options, &executor));
    assert_ok(executor_bind(executor, NULL));
    assert_ok(executor_load(executor, model));
    executor_forward(executor, golden_floats(golden, "input", GOLDEN_DIMS(BATCH, 3, 32, 32)), 0);
    assert_ok(executor_status(executor));
    golden_check(golden, "eval_logits", executor_logits(executor), "eval", multiple());
    executor_destroy(executor);
}

static void run_case(const struct network_case *which)
{
    struct golden golden;
    struct model model;
    int taps[16];
    golden_open(&golden, which->golden);
    slack = which->slack;
    load_model(&golden, which->network, &model);
    for (int i = 0; i < model.graph.tap_count; i++)
        taps[i] = i;
    train_steps(&golden, &model, model.graph.tap_count, taps);
    infer(&golden, &model, model.graph.tap_count, taps); /* with every tap kept */
    infer(&golden, &model, 0, NULL);                     /* and with none: other fusions */
    model_release(&model);
    golden_close(&golden);
}

static void run_every_way(const struct network_case *which)
{
    const enum executor_convolutions last =
        precision == PRECISION_BF16 ? CONVOLUTIONS_CHANNELS_LAST : CONVOLUTIONS_DIRECT;
    for (convolutions = CONVOLUTIONS_OWN; convolutions <= last; convolutions++)
        run_case(which);
}

static void a_network_agrees_with_the_outside_implementation(void **state)
{
    const int best = (int)cpu_level();
    for (int level = 0; level <= best; level++) {
        cpu_limit((enum cpu_level)level);
        precision = PRECISION_F32;
        run_every_way(*state);
        precision = PRECISION_BF16;
        if (dnn_has_bf16())
            run_every_way(*state);
    }
}

int main(void)
{
    struct CMUnitTest tests[sizeof(cases) / sizeof(cases[0])];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        tests[i] =
            (struct CMUnitTest){cases[i].golden, a_network_agrees_with_the_outside_implementation,
                                NULL, NULL, (void *)&cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
