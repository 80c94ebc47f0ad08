/* sketch.c - small networks for tests. */
#include "sketch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

void sketch_begin(struct graph *graph, struct shape input)
{
    assert_ok(graph_begin(graph, "sketch", input));
}

int sketch_node(struct graph *graph, enum op_kind kind, const int *inputs, const void *attributes)
{
    char name[16];
    int node;
    snprintf(name, sizeof(name), "n%d", graph->node_count);
    assert_ok(graph_add(graph, kind, name, inputs, op_of(kind)->inputs, attributes, &node));
    return node;
}

int sketch_conv(struct graph *graph, int input, struct conv_attributes attributes)
{
    return sketch_node(graph, OP_conv, &input, &attributes);
}

int sketch_batch_norm(struct graph *graph, int input)
{
    return sketch_node(graph, OP_batch_norm, &input, NULL);
}

int sketch_relu(struct graph *graph, int input)
{
    return sketch_node(graph, OP_relu, &input, NULL);
}

int sketch_add(struct graph *graph, int a, int b)
{
    return sketch_node(graph, OP_add, (const int[]){a, b}, NULL);
}

int sketch_max_pool(struct graph *graph, int input, int kernel, int stride)
{
    return sketch_node(graph, OP_max_pool, &input, &(struct max_pool_attributes){kernel, stride});
}

int sketch_global_avg_pool(struct graph *graph, int input)
{
    return sketch_node(graph, OP_global_avg_pool, &input, NULL);
}

int sketch_linear(struct graph *graph, int input, int features)
{
    return sketch_node(graph, OP_linear, &input, &(struct linear_attributes){features});
}

int sketch_shortcut_a(struct graph *graph, int input, int channels, int stride)
{
    return sketch_node(graph, OP_shortcut_a, &input,
                       &(struct shortcut_a_attributes){channels, stride});
}

int sketch_dropout(struct graph *graph, int input, double rate)
{
    return sketch_node(graph, OP_dropout, &input, &(struct dropout_attributes){rate});
}

static double draw(const struct parameter *parameter, double normal)
{
    switch (parameter->role) {
    case PARAMETER_WEIGHT:
        return normal * sqrt(2.0 / parameter->fan_in);
    case PARAMETER_SCALE:
        return 1 + 0.3 * normal;
    case PARAMETER_RUNNING_VAR:
        return 0.5 + 0.5 * fabs(normal);
    default:
        return 0.3 * normal;
    }
}

float **sketch_values(const struct graph *graph)
{
    float **values = calloc((size_t)graph->parameter_count, sizeof(*values));
    assert_non_null(values);
    for (int i = 0; i < graph->parameter_count; i++) {
        values[i] = calloc(parameter_count(&graph->parameters[i]), sizeof(**values));
        assert_non_null(values[i]);
    }
    return values;
}

void sketch_values_release(const struct graph *graph, float **values)
{
    for (int i = 0; i < graph->parameter_count; i++)
        free(values[i]);
    free(values);
}

void sketch_model(struct graph *graph, uint64_t seed, struct model *model)
{
    assert_ok(graph_finish(graph));
    *model = (struct model){.graph = *graph, .values = sketch_values(graph)};
    *graph = (struct graph){0};
    for (int i = 0; i < model->graph.parameter_count; i++) {
        const struct parameter *parameter = &model->graph.parameters[i];
        const struct random_stream stream = random_stream(seed, RANDOM_TEST, (uint32_t)i, 0);
        for (size_t k = 0; k < parameter_count(parameter); k++)
            model->values[i][k] = (float)draw(parameter, random_normal(&stream, k));
    }
}

/* Drawn once: drawing would take most of some tests' time. */
float *sketch_numbers(size_t count, uint64_t seed)
{
    enum { DRAWN = 1 << 16 };
    static float drawn[DRAWN];
    static bool ready;
    const struct random_stream stream = random_stream(1, RANDOM_TEST, 0, 1);
    float *numbers = malloc(count * sizeof(*numbers));
    assert_non_null(numbers);
    for (size_t i = 0; !ready && i < DRAWN; i++)
        drawn[i] = (float)random_normal(&stream, i);
    ready = true;
    for (size_t i = 0; i < count; i++)
        numbers[i] = drawn[(seed * 7919 + i) % DRAWN];
    return numbers;
}

struct executor *sketch_executor(const struct model *model, const struct executor_options *options)
{
    struct executor *executor;
    assert_ok(executor_create(&model->graph, options, &executor));
    assert_ok(executor_bind(executor, NULL));
    assert_ok(executor_load(executor, model));
    return executor;
}

bool sketch_has_step(const struct executor *executor, const char *kind)
{
    for (int i = 0; i < executor_step_count(executor); i++)
        if (strstr(executor_step(executor, i).kind, kind))
            return true;
    return false;
}

bool sketch_has_own_convolution(const struct executor *executor)
{
    return sketch_has_step(executor, "winograd") || sketch_has_step(executor, "conv depthwise");
}

float *sketch_plain(struct tensor map)
{
    float *plain = malloc((size_t)map.n * map.c * map.h * map.w * sizeof(*plain));
    assert_non_null(plain);
    tensor_to_plain(&map, plain);
    return plain;
}
