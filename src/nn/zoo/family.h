/* family.h - what a family of networks is: one struct of this type per file in zoo/, one line in
 * FAMILIES.
 *
 * A family's settings begin with struct family_common. Its builder appends nodes through the
 * helpers below, whose names (stage1.block2.conv1.weight) are those of the published reference
 * code, so that weights can be compared and exchanged. */
#ifndef ZOO_FAMILY_H
#define ZOO_FAMILY_H

#include "nn/graph.h"
#include "nn/op/op.h"

#define FAMILIES(X)                                                                                \
    X(resnet)                                                                                      \
    X(vgg)                                                                                         \
    X(mobilenet)

struct family_common {
    int classes;           /* 0: as the caller says */
    struct int_list input; /* c, h, w; empty: as the caller says */
};

#define FAMILY_ROWS(type)                                                                          \
    {"classes", SETTING_INT, offsetof(struct type, common.classes), 0,                             \
     65536,     "0",         "number of classes; 0: the data set's"},                              \
    {                                                                                              \
        "input", SETTING_INTS, offsetof(struct type, common.input), 1, 65536, "",                  \
            "channels, height and width of the images, e.g. 3x32x32; the data set's when not "     \
            "given"                                                                                \
    }

struct network_family {
    const char *name, *help;
    const struct setting_table *settings;
    /* graph has its input node; classes is resolved. */
    enum retort_status (*build)(const void *settings, int classes, struct graph *graph);
};

/* NULL at the end. */
extern const struct network_family *const network_families[];

/* ---- for builders: *node is the node so far, moved on ---- */

/* Names are made of format and arguments, e.g. "stage%d.block%d.conv1". */
struct zoo_name {
    char text[128];
};
struct zoo_name zoo_name(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum retort_status zoo_conv(struct graph *graph, struct zoo_name name, int channels, int kernel,
                            int stride, int groups, bool bias, int *node);
enum retort_status zoo_batch_norm(struct graph *graph, struct zoo_name name, int *node);
enum retort_status zoo_relu(struct graph *graph, struct zoo_name name, int *node);
enum retort_status zoo_linear(struct graph *graph, struct zoo_name name, int features, int *node);
/* Global average pooling and the classifier "fc". */
enum retort_status zoo_head(struct graph *graph, int classes, int *node);

/* width x multiplier, cut to a whole number, at least 1. */
int zoo_width(int width, double multiplier);

/* "widths: 3 numbers found, 4 wanted". */
enum retort_status zoo_count(const char *name, const struct int_list *list, int wanted);

#endif
