/* npy.h - the header of an array that numpy wrote (NEP 1), read strictly. */
#ifndef DATA_NPY_H
#define DATA_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { NPY_PREFIX = 12, NPY_LARGEST_HEADER = 4096, NPY_RANK = 4 };

struct npy {
    char kind; /* 'u' or 'i': whole numbers without and with sign; 'f' */
    int bytes; /* of a number: 1, 2, 4, 8 */
    bool big_endian;
    int rank; /* at most NPY_RANK */
    uint64_t shape[NPY_RANK];
    size_t header; /* bytes before the numbers */
};

/* The length of the whole header, from its first NPY_PREFIX bytes (of a file that holds at least
 * so many): never more than NPY_LARGEST_HEADER. Sentences do not name the file. */
enum retort_status npy_measure(const unsigned char *data, size_t *header);

/* Read a whole header. Fortran's order of numbers and types of other kinds are RETORT_FORMAT. */
enum retort_status npy_read(const unsigned char *data, size_t header, struct npy *npy);

/* A whole number of an array of kind 'u' or 'i'; -1 for all that int64 does not hold. */
int64_t npy_integer(const struct npy *npy, const unsigned char *bytes);

#endif
