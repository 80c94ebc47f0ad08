/* model.h - a network with its numbers: graph, parameters in plain layout, and what a user of the
 * network must know (input normalisation, class names, where it came from). */
#ifndef NN_MODEL_H
#define NN_MODEL_H

#include <jansson.h>
#include <stdint.h>

#include "nn/graph.h"

enum { MODEL_CHANNELS = 4 };

struct model {
    struct graph graph; /* owned */
    float **values;     /* values[i]: graph.parameters[i], plain row-major; owned */
    float mean[MODEL_CHANNELS],
        std[MODEL_CHANNELS]; /* of pixel values / 255; input = (value / 255 - mean) / std */
    char **class_names;      /* classes texts, or NULL; owned */
    json_t *provenance;      /* object of texts: dataset, seed, epochs, method, top1 ...; owned */
};

/* Take the graph over (graph is zeroed; kept on failure) and make zeroed parameters; mean 0, std 1,
 * no class names, empty provenance. */
enum retort_status model_create(struct graph *graph, struct model *model);
/* He-normal weights (He et al. 2015: variance 2 / fan-in) determined by seed and the parameter's
 * number alone; biases 0, scales 1, running variances 1. */
void model_initialise(struct model *model, uint64_t seed);
/* Copy the names of the classes (graph.classes of them); NULL: unknown. */
enum retort_status model_name_classes(struct model *model, const char *const *names);
/* A copy of everything. */
enum retort_status model_copy(const struct model *model, struct model *copy);
/* Accepts a zeroed struct. */
void model_release(struct model *model);

/* Fingerprint of every parameter and running statistic (base/hash.h). */
uint64_t model_hash(const struct model *model);

/* Model files: safetensors whose metadata holds format ("retort.model"), version, network, graph,
 * normalisation, class names and provenance as JSON. They hold no times and no paths: equal models
 * give equal bytes. Reading refuses missing, surplus, misshapen and non-finite tensors by name;
 * writing refuses what could not be read again (RETORT_INVALID). */
enum retort_status model_save(const struct model *model, const char *path);
enum retort_status model_load(const char *path, struct model *model);

#endif
