/* bench.h - how fast this machine trains, evaluates and distils the pairs that everybody compares,
 * and how fast it makes batches of a data set. */
#ifndef RETORT_BENCH_H
#define RETORT_BENCH_H

#include <stdbool.h>
#include <stddef.h>

#include "retort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct retort_bench_options {
    const char *pair; /* resnet (32 -> 8), vgg (11 -> 6), mobilenet (16 -> 9) */
    const char *mode; /* one of those below; NULL: all of them */
    int batch;        /* 0: 128; mobilenet 64 */
    int threads;      /* 0: one per core */
    bool bf16;        /* else f32 */
    int repeat;       /* timed steps per mode; 0: 15 */
    bool profile;     /* also time every step of every network */
};

enum { RETORT_BENCH_MODES = 5 };

/* train-teacher, train-student: forward, cross-entropy, backward, optimizer. eval-teacher,
 * eval-student: forward. kd: teacher's forward, student's forward, CE + KL + Gram over all pairs of
 * taps, backward, optimizer. */
struct retort_bench_mode {
    const char *mode;
    double ms, least_ms;      /* median and least time of a step */
    double images_per_second; /* by the median */
    double gflops_per_second; /* 2 x multiply-accumulates of convolutions and linear layers: forward
                                 once, training three times */
    size_t workspace_bytes;
    char *profile; /* a table, one line per kind of step; NULL unless asked for; owned by the result
                    */
};

struct retort_bench_result {
    int batch, threads;
    long peak_bytes; /* resident memory of the process at its largest */
    /* f32 multiply-adds from registers, measured in this run. Winograd's convolution does with
     * fewer than are counted above, so a mode may have more than all of it. */
    double peak_gflops_per_second;
    int mode_count;
    struct retort_bench_mode modes[RETORT_BENCH_MODES];
};

/* Weights and images are random. Release the result with retort_bench_release. */
RETORT_API enum retort_status retort_bench(const struct retort_bench_options *options,
                                           struct retort_bench_result *result);
RETORT_API void retort_bench_release(struct retort_bench_result *result);

struct retort_bench_loader_options {
    const char *data; /* "name[:path]"; its training images are read */
    int batch;        /* 0: 128 */
    int threads;      /* that prepare batches; 0: 1 */
    int size;         /* height and width, for sets of images of any size; 0: 64 */
    int repeat;       /* passes over the training images; 0: as many as begin within 3 seconds */
    bool all;         /* every augmentation that there is, not only flip and crop */
};

struct retort_bench_loader_result {
    int batch, threads;
    int shape[3];                      /* channels, height, width of the images */
    long images;                       /* that were delivered */
    double images_per_second;          /* delivered, by the clock */
    double images_per_second_per_core; /* images by seconds of CPU time of the whole process: what
                                          one core makes when it does nothing else. Other threads of
                                          the caller must be idle meanwhile */
    double read_per_second_per_core;   /* training and test images by seconds of CPU time that
                                          opening the set took: decompression, JPEG and PNG; 0 for
                                          a shard, which is not read when it is opened */
};

/* The loader alone, without a network: batches as in training, shuffled, with flip and crop by 4
 * pixels, normalised to float; with `all` also turned, with colours changed and a square cut out.
 */
RETORT_API enum retort_status retort_bench_loader(const struct retort_bench_loader_options *options,
                                                  struct retort_bench_loader_result *result);

#ifdef __cplusplus
}
#endif
#endif
