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
enum retort_status retort_network_open(const char *what, int classes, const int input[3],
                                       retort_network **network);
/* Accepts NULL. */
void retort_network_close(retort_network *network);

const char *retort_network_name(const retort_network *network);   /* borrowed */
int64_t retort_network_parameters(const retort_network *network); /* that are trained */
int64_t retort_network_macs(const retort_network *network); /* multiply-accumulates per image */
int64_t
retort_network_file_bytes(const retort_network *network); /* of its model file; 0: not a file */

struct retort_layer {
    const char *kind, *name;     /* borrowed */
    int channels, height, width; /* of the output */
    int64_t parameters, macs;
    const char *tap; /* the tap's name when this layer is one, else NULL */
};
int retort_network_layers(const retort_network *network);
struct retort_layer retort_network_layer(const retort_network *network, int index);

/* One line about each family of networks and each of its keys, for help texts: index 0, 1, ...
 * until NULL is returned. Static buffer. */
const char *retort_network_help(int index);

#ifdef __cplusplus
}
#endif
#endif
