/* sketch.h - small networks in a few lines, with random numbers and an executor, for tests.
 *
 *     struct graph graph;
 *     sketch_begin(&graph, (struct shape){5, 6, 7});
 *     int x = sketch_relu(&graph, sketch_conv(&graph, 0, (struct conv_attributes){8, 3, 1, 1, 1}));
 *     sketch_linear(&graph, x, 10);
 *     sketch_model(&graph, 1, &model);
 *
 * Nodes are named after their numbers: "n1", "n2". Whatever fails fails the test. */
#ifndef TESTS_SKETCH_H
#define TESTS_SKETCH_H

#include "support.h"

#include "nn/engine/executor.h"
#include "nn/op/op.h"

void sketch_begin(struct graph *graph, struct shape input);

/* Each appends a node and gives its number. */
int sketch_node(struct graph *graph, enum op_kind kind, const int *inputs, const void *attributes);
int sketch_conv(struct graph *graph, int input, struct conv_attributes attributes);
int sketch_batch_norm(struct graph *graph, int input);
int sketch_relu(struct graph *graph, int input);
int sketch_add(struct graph *graph, int a, int b);
int sketch_max_pool(struct graph *graph, int input, int kernel, int stride);
int sketch_global_avg_pool(struct graph *graph, int input);
int sketch_linear(struct graph *graph, int input, int features);
int sketch_shortcut_a(struct graph *graph, int input, int channels, int stride);
int sketch_dropout(struct graph *graph, int input, double rate);

/* Finish the graph and give its model random numbers: weights of variance 2 / fan-in, scales and
 * running variances about 1, all else about 0. The model owns the graph. Unlike model_create's it
 * takes inputs of any number of channels. */
void sketch_model(struct graph *graph, uint64_t seed, struct model *model);

/* A zeroed array per parameter, as in a model, e.g. for gradients. */
float **sketch_values(const struct graph *graph);
void sketch_values_release(const struct graph *graph, float **values);

/* Normal random numbers, which seed shifts along one row of 65536; release them with free(). */
float *sketch_numbers(size_t count, uint64_t seed);

/* Created, bound and loaded. */
struct executor *sketch_executor(const struct model *model, const struct executor_options *options);

/* Does the kind of one of its steps contain this text? */
bool sketch_has_step(const struct executor *executor, const char *kind);
/* Is one of its convolutions ours rather than oneDNN's? */
bool sketch_has_own_convolution(const struct executor *executor);

/* A map in plain layout; release it with free(). */
float *sketch_plain(struct tensor map);

#endif
