/* onednn.h - oneDNN behind a thin layer; only the files onednn* include dnnl.h.
 *
 * What is made here (layouts, primitives) belongs to the `struct dnn` and goes with it. Primitives
 * are made once; operands are attached once the workspace is known; dnn_run then only executes.
 * Scratch space is asked for by size and given by the caller, so the library allocates no big
 * memory by itself. */
#ifndef ENGINE_ONEDNN_H
#define ENGINE_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "nn/tensor.h"

struct dnn;
struct dnn_layout;    /* element type, sizes and order in memory of an operand */
struct dnn_primitive; /* one compiled operation with its operands */

enum dnn_operand {
    DNN_SRC,
    DNN_WEIGHTS,
    DNN_BIAS,
    DNN_DST,
    DNN_DIFF_SRC,
    DNN_DIFF_WEIGHTS,
    DNN_DIFF_BIAS,
    DNN_DIFF_DST,
    DNN_WORKSPACE,
    DNN_SCRATCHPAD,
    DNN_OPERANDS
};

enum retort_status dnn_open(struct dnn **dnn);
/* Accepts NULL. */
void dnn_close(struct dnn *dnn);

/* Channels innermost that convolutions of this machine want: 16 with AVX-512, else 8. */
int dnn_block(void);
/* "2.6.3" */
const char *dnn_version(void);
/* Can this machine compute in bf16? */
bool dnn_has_bf16(void);
/* Has it matrix units for that (AMX)? */
bool dnn_has_amx(void);

/* ---- layouts ---- */

/* The layout of a tensor view: plain or blocked map; 1x1 plain maps count as vectors (n, c). */
enum retort_status dnn_map(struct dnn *dnn, const struct tensor *tensor,
                           const struct dnn_layout **layout);

/* f32 weights of a square kernel: plain as files hold them, blocked (oc / block, ic / block,
 * kernel, kernel, block of ic, block of oc). */
enum retort_status dnn_blocked_weights(struct dnn *dnn, int oc, int ic, int kernel, int block,
                                       const struct dnn_layout **plain,
                                       const struct dnn_layout **blocked);

/* The same of a depthwise convolution: blocked (channels / block, kernel, kernel, block). */
enum retort_status dnn_depthwise_weights(struct dnn *dnn, int channels, int kernel, int block,
                                         const struct dnn_layout **plain,
                                         const struct dnn_layout **blocked);

size_t dnn_bytes(const struct dnn_layout *layout);
bool dnn_equal(const struct dnn_layout *a, const struct dnn_layout *b);

/* ---- primitives ---- */

/* A convolution or, with kernel 0, an inner product. src and dst say shape and layout; weights lie
 * as the kernels want. */
struct dnn_weighted {
    struct tensor src, dst;
    int kernel, stride, pad, groups;
    bool bias;
    bool relu; /* forward: max(0, .) last */
    bool sum;  /* forward: add to what dst holds, before relu */
    bool train;
    bool diff_src; /* train: the gradient of src is wanted */
    /* Convolutions on blocked maps: the primitives see these with the channels innermost and not
     * blocked, which is what matrix units want. Not together with sum. */
    bool channels_last;
};

struct dnn_weighted_primitives {
    struct dnn_primitive *forward, *backward_data, *backward_weights; /* NULL: not asked for */
    const struct dnn_layout *plain; /* f32 weights as files hold them */
    const struct dnn_layout
        *master; /* f32 weights and their gradient as the optimizer holds them */
    /* The maps as the primitives read and write them, and as the gradient of the weights does. */
    const struct dnn_layout *src, *dst, *gradient_src, *gradient_dst;
};

enum retort_status dnn_weighted_create(struct dnn *dnn, const struct dnn_weighted *what,
                                       struct dnn_weighted_primitives *made);

/* Pooling of square windows without padding; average: whole-window mean. backward is NULL unless
 * train. */
struct dnn_pool {
    struct tensor src, dst;
    int kernel_h, kernel_w, stride_h, stride_w;
    bool average, train;
};
enum retort_status dnn_pool_create(struct dnn *dnn, const struct dnn_pool *what,
                                   struct dnn_primitive **forward, struct dnn_primitive **backward);

/* From one layout to another: src DNN_SRC, dst DNN_DST. */
enum retort_status dnn_reorder_create(struct dnn *dnn, const struct dnn_layout *from,
                                      const struct dnn_layout *to,
                                      struct dnn_primitive **primitive);

/* Convert once, at once; allocates: not for steps. */
enum retort_status dnn_convert(struct dnn *dnn, const struct dnn_layout *from, const void *src,
                               const struct dnn_layout *to, void *dst);

/* The layout that a primitive wants for an operand; NULL: it has no such operand. */
const struct dnn_layout *dnn_wanted(const struct dnn_primitive *primitive,
                                    enum dnn_operand operand);
/* The implementation's name, e.g. "jit:avx512_core". */
const char *dnn_implementation(const struct dnn_primitive *primitive);

/* Tell where an operand lies (again: moves it). */
enum retort_status dnn_attach(struct dnn_primitive *primitive, enum dnn_operand operand,
                              void *data);
enum retort_status dnn_run(struct dnn_primitive *primitive);

#endif
