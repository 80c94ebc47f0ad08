/* network.h - look at a network: what it is made of and what it costs. */
#ifndef RETORT_NETWORK_H
#define RETORT_NETWORK_H

#include <stdint.h>

#include "retort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct retort_network retort_network;

/* what: a model file, or "family:key=value,..." such as "resnet:depth=8,width=2". classes and the
 * input (channels, height, width) fill in what a specification leaves open; model files ignore
 * them. */
RETORT_API enum retort_status retort_network_open(const char *what, int classes, const int input[3],
                                                  retort_network **network);
/* Accepts NULL. */
RETORT_API void retort_network_close(retort_network *network);

/* Borrowed. */
RETORT_API const char *retort_network_name(const retort_network *network);
/* Those that are trained. */
RETORT_API int64_t retort_network_parameters(const retort_network *network);
/* Multiply-accumulates per image. */
RETORT_API int64_t retort_network_macs(const retort_network *network);
/* Of its model file; 0 when it is not one. */
RETORT_API int64_t retort_network_file_bytes(const retort_network *network);

struct retort_layer {
    const char *kind, *name;     /* borrowed */
    int channels, height, width; /* of the output */
    int64_t parameters, macs;
    const char *tap; /* the tap's name when this layer is one, else NULL */
};
RETORT_API int retort_network_layers(const retort_network *network);
RETORT_API struct retort_layer retort_network_layer(const retort_network *network, int index);

/* One line about each family of networks and each of its keys, for help texts: index 0, 1, ...
 * until NULL is returned. Static buffer. */
RETORT_API const char *retort_network_help(int index);

#ifdef __cplusplus
}
#endif
#endif
