/* cost.h - what a network costs: parameters, multiply-accumulates, bytes. */
#ifndef NN_COST_H
#define NN_COST_H

#include "nn/graph.h"

/* Parameters that are trained (running statistics are not counted). */
int64_t cost_parameters(const struct graph *graph);
/* Multiply-accumulates of convolutions and linear layers for one image. */
int64_t cost_macs(const struct graph *graph);
/* The same for one node. */
int64_t cost_node_parameters(const struct graph *graph, int node);
int64_t cost_node_macs(const struct graph *graph, int node);

#endif
