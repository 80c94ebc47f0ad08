/* executor.h - a graph compiled for one batch size, precision and purpose.
 *
 * Creating one fuses nodes, makes the oneDNN primitives and places every buffer, scratch space
 * included, in one workspace by lifetime. A step then does not allocate. Activations stay in the
 * blocked layout from the first convolution to the last; only matrix units get them in another.
 *
 *   EXECUTOR_INFER  batch norm folded into the convolutions, ReLU and residual sums fused; only the
 *                   taps asked for and the logits outlive the pass.
 *   EXECUTOR_TRAIN  batch statistics, forward values kept for the backward pass, gradients.
 *
 * A backend failure during a step sticks: executor_status gives it, later steps do nothing. */
#ifndef ENGINE_EXECUTOR_H
#define ENGINE_EXECUTOR_H

#include "nn/model.h"
#include "nn/tensor.h"

enum executor_mode { EXECUTOR_INFER, EXECUTOR_TRAIN };

/* How convolutions are computed; other than the fastest for tests. */
enum executor_convolutions {
    CONVOLUTIONS_FASTEST,      /* channels last in bf16 where there are matrix units, else own */
    CONVOLUTIONS_OWN,          /* by kernels of ours where there is one */
    CONVOLUTIONS_DIRECT,       /* by oneDNN only, as plain sums */
    CONVOLUTIONS_CHANNELS_LAST /* bf16: by oneDNN, on maps brought into that order and back;
                                  depthwise and f32: own */
};

struct executor_options {
    int batch;
    enum executor_mode mode;
    enum precision precision;
    uint64_t seed; /* of dropout */
    int tap_count; /* maps to keep for the caller, numbers of graph taps */
    const int *taps;
    const bool *tap_diffs; /* train: taps[i] gets a gradient from the caller; NULL: none does */
    bool input_diff;       /* train: the gradient of the input is wanted too (tests) */
    bool backward_twice;   /* train: backward passes may follow one another after one forward pass;
                              takes more memory */
    enum executor_convolutions convolutions;
};

struct executor;

/* graph is borrowed for the executor's life. */
enum retort_status executor_create(const struct graph *graph,
                                   const struct executor_options *options,
                                   struct executor **executor);
void executor_destroy(struct executor *executor);

/* Shape and layout (data NULL) of a map of this graph, without an executor. */
struct tensor executor_layout(const struct graph *graph, int tap, int batch,
                              enum precision precision);

/* Bytes of workspace: activations, gradients of activations, scratch. Executors that never run at
 * the same time may share one workspace; what they hand out then lasts until the other one runs. */
size_t executor_workspace(const struct executor *executor);
/* Give it its workspace, aligned to MEMORY_ALIGNMENT; NULL: it makes its own. Once, before the
 * first step. */
enum retort_status executor_bind(struct executor *executor, void *workspace);

/* Parameters and running statistics in and out, plain layout. Load before the first step. */
enum retort_status executor_load(struct executor *executor, const struct model *model);
enum retort_status executor_store(struct executor *executor, struct model *model);

/* images: plain float (batch, c, h, w), borrowed until the backward pass is over. step numbers the
 * dropout masks. */
void executor_forward(struct executor *executor, const float *images, uint32_t step);
/* Turns diff_logits and the diff_taps, which the caller has filled, into gradients (overwritten).
 */
void executor_backward(struct executor *executor);
enum retort_status executor_status(const struct executor *executor);

/* ---- what it hands out; the addresses are valid after executor_bind and never change; the numbers
 * last from the forward pass until the backward pass (or another executor in the same workspace)
 * ---- */

float *executor_logits(const struct executor *executor); /* (batch, classes) */
float *
executor_diff_logits(const struct executor *executor); /* (batch, classes), filled by the caller */
struct tensor executor_tap(const struct executor *executor, int i);
struct tensor executor_diff_tap(const struct executor *executor, int i);
struct tensor executor_input_diff(const struct executor *executor);

/* All trained parameters and their gradients as flat arrays of equal layout (the kernels' own,
 * padding zero): an optimizer needs no more. A segment is one parameter. */
struct parameter_segment {
    size_t offset, count;
    int parameter; /* in graph.parameters */
};
struct parameter_view {
    float *values, *gradients;
    size_t count;
    int segment_count;
    const struct parameter_segment *segments;
};
struct parameter_view executor_parameters(const struct executor *executor);

/* The running statistics as they lie, `count` numbers; may be kept and put back. */
float *executor_statistics(const struct executor *executor, size_t *count);

/* Move one array of that layout (gradients, momentum) from and to plain arrays, plain[i] for
 * graph.parameters[i] (NULL: skip; running statistics are always skipped). */
enum retort_status executor_flat_to_plain(const struct executor *executor, const float *flat,
                                          float *const *plain);
enum retort_status executor_plain_to_flat(const struct executor *executor, float *const *plain,
                                          float *flat);

/* Fingerprint of all parameters and statistics as they lie (base/hash.h): equal before and after
 * means that nothing wrote to them. */
uint64_t executor_hash(const struct executor *executor);

/* ---- looking at it ---- */

struct executor_step {
    const char *kind, *name; /* "conv forward jit:avx512_core", "stage1.block1.conv1" */
    double flops, bytes;     /* 0: not counted */
    double seconds;          /* in all since profiling was switched on */
    long runs;
};
int executor_step_count(const struct executor *executor);
struct executor_step executor_step(const struct executor *executor, int i);
void executor_profile(struct executor *executor, bool on);

#endif
