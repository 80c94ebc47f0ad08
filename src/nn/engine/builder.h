/* builder.h - how an operator says what an executor shall do.
 *
 * Compiling a graph: fuse.c groups its nodes into units (one main node and what runs inside it);
 * each unit's operator appends forward steps; then, in reverse order, backward steps. A step names
 * the buffers it touches; a buffer lives from the first to the last step that touches it, and
 * plan.c packs all of them into one workspace. Pointers are filled in when the workspace is known.
 *
 * Gradients: every consumer of a value adds one buffer to the value's list of contributions;
 * whoever turns the value's gradient further sums the list while reading it, so that no pass is
 * spent on adding. A contribution belongs to the value (it may be overwritten in place) unless
 * `shared`. */
#ifndef ENGINE_BUILDER_H
#define ENGINE_BUILDER_H

#include "nn/engine/executor.h"
#include "nn/engine/onednn.h"
#include "nn/op/op.h"

enum { STEP_BUFFERS = 16, VALUE_DIFFS = 4, NO_BUFFER = -1 };

/* A main node with what is fused into it; -1 where there is nothing. */
struct unit {
    int node;       /* decides the operator */
    int batch_norm; /* inference: folded into the convolution */
    int add;        /* the sum that ends it; `residual` is the node that is added */
    int residual;
    int relu;
    int output; /* the last of these nodes: whose value the unit makes */
};

/* Where a buffer's memory comes from. */
enum region {
    REGION_WORKSPACE, /* planned by lifetime */
    REGION_VALUES,    /* parameters */
    REGION_GRADIENTS, /* same offsets as REGION_VALUES */
    REGION_STATE,     /* running statistics */
    REGION_PREPARED,  /* made from parameters, by steps that run once after they are loaded */
    REGION_IMAGES,    /* the caller's, told at each forward pass */
    REGIONS
};

struct buffer {
    enum region region;
    size_t bytes, offset;
    int first, last; /* steps; first < 0: not touched yet */
};

/* A batch norm whose second pass (batch_norm_kernel.h) is left to a reader. */
struct lazy_norm {
    int coefficients; /* NO_BUFFER: there is none */
    bool relu;
};

/* The output of a unit. */
struct value {
    struct tensor tensor; /* shape and layout; data stays NULL */
    int buffer;
    bool wants_diff;
    int diff_count, diffs[VALUE_DIFFS];
    bool diff_shared[VALUE_DIFFS];
    /* An option-A shortcut need not be carried out where who reads it can pick its numbers: then
     * the buffer is the shortcut's source, and a contribution is a gradient of its result. NULL:
     * plain. Owned by the arena. */
    const struct shortcut *view, *diff_views[VALUE_DIFFS];
    /* Between batch norms and a depthwise convolution that reads or makes their values alone: the
     * buffer is the batch norm's source; the one contribution is the gradient of what the batch
     * norm makes of the value. */
    struct lazy_norm seen_through, diff_through;
    /* Scratch with the sums of the batch norm that reads the value, of the one that made it
     * (backward); NO_BUFFER: not taken yet. */
    int sums, diff_sums;
};

struct shortcut; /* elementwise.h */
struct step;
/* Do the work; ptr[i] is the memory of the i-th buffer named. */
typedef void step_function(const struct step *step, void *const *ptr);

struct step {
    const char *kind, *name;
    step_function *run;
    const void *constants;           /* of run; owned by the executor's arena */
    struct dnn_primitive *primitive; /* instead of run */
    enum dnn_operand operands[STEP_BUFFERS];
    int buffer_count, buffers[STEP_BUFFERS];
    void *ptr[STEP_BUFFERS];
    bool once; /* only in the first pass after parameters were loaded */
    double flops, bytes, seconds;
    long runs;
};

/* Where a parameter lives, and how it lies there. */
struct slot {
    int buffer, diff_buffer; /* NO_BUFFER: not used by this executor, or has no gradient */
    size_t offset, count;    /* floats in its region */
    const struct dnn_layout *plain, *kept; /* weights; NULL: a vector padded with zeros */
    int fold; /* inference: the batch norm node that is folded into this weight or bias, or -1 */
};

struct builder {
    const struct graph *graph;
    struct executor_options options;
    struct dnn *dnn;
    int block, threads; /* of channels in a map; of every step */
    struct arena *arena;
    struct value *values; /* by node */
    void **notes; /* by node: what its forward half leaves for its backward half; in arena */
    const uint32_t *step; /* number of the training step, for dropout */
    int *last_reader;     /* by node: the last unit that reads it, INT_MAX for taps and logits */
    const struct unit *units; /* in the order of fuse() */
    int unit_count, unit;     /* the one that is being built */
    bool prepares;            /* see builder_prepare */
    struct slot *slots;       /* by parameter */
    struct buffer *buffers;
    struct step *steps;
    int buffer_count, buffer_room, step_count, step_room;
    int forward_count; /* steps before the backward pass, the hand-over included */
    int logits_diff;   /* buffers that the caller fills; NO_BUFFER where there is none */
    int *tap_diffs;
    size_t region_bytes[REGIONS];
};

/* ---- for operators ---- */

static inline bool builder_trains(const struct builder *builder)
{
    return builder->options.mode == EXECUTOR_TRAIN;
}

/* The value that a node's unit made; an input of the node, by number. */
struct value *builder_value(struct builder *builder, int node);
struct value *builder_input(struct builder *builder, const struct unit *unit, int input);

/* Give the unit's output a blocked map of the node's shape (plain when `plain`: vectors), in a new
 * buffer, or in an existing one when `buffer` is not NO_BUFFER. */
enum retort_status builder_output(struct builder *builder, const struct unit *unit, bool plain,
                                  int buffer, struct value **value);

enum retort_status builder_buffer(struct builder *builder, size_t bytes, int *buffer);

/* The unit that alone reads this node, as an input or as its residual; NULL: several do, or none,
 * or the caller. */
const struct unit *builder_only_reader(const struct builder *builder, int node);

/* The buffer of a node's value, carried out by a step if it is a view. */
enum retort_status builder_whole(struct builder *builder, int node, int *buffer);

/* The caller's images, plain f32. */
enum retort_status builder_images(struct builder *builder, int *buffer);

/* Places for parameters. Weights lie as the kernels want them, vectors are padded to a multiple of
 * the block. *buffer is read; *diff_buffer takes the gradient (NO_BUFFER when inferring). */
enum retort_status builder_weights(struct builder *builder, int parameter,
                                   const struct dnn_weighted_primitives *how, int *buffer,
                                   int *diff_buffer);
enum retort_status builder_vector(struct builder *builder, int parameter, int *buffer,
                                  int *diff_buffer);

/* Append a step of our own: buffers in the order in which run finds them. constants are copied.
 * flops and bytes are for the profile. */
struct step_request {
    const char *kind;
    step_function *run;
    const void *constants;
    size_t constant_bytes;
    int buffers[STEP_BUFFERS]; /* NO_BUFFER: ptr is NULL */
    int buffer_count;
    double flops, bytes;
};
enum retort_status builder_step(struct builder *builder, const char *name,
                                const struct step_request *request);

/* Append a step of oneDNN's: pairs of operand and buffer. Scratch space is added here. */
struct primitive_request {
    const char *kind;
    struct dnn_primitive *primitive;
    int count;
    enum dnn_operand operands[STEP_BUFFERS];
    int buffers[STEP_BUFFERS];
    double flops, bytes;
};
enum retort_status builder_primitive(struct builder *builder, const char *name,
                                     const struct primitive_request *request);

/* May the unit overwrite this node's value, which it reads number by number? Not when it reads the
 * same place as its source, or when a later unit reads it, be it as another node's value: at
 * inference a dropout's is its input's. (Forward only.) */
bool builder_dies_here(const struct builder *builder, const struct unit *unit, int node);

/* From begin to end, what is appended depends on parameters alone: it writes only to buffers made
 * meanwhile. When inferring, these stay and the steps run once after parameters were loaded. */
void builder_prepare_begin(struct builder *builder);
void builder_prepare_end(struct builder *builder);

/* The buffer that holds `from` in layout `to`: the same one when the layouts agree, else a new one
 * that a reorder step fills. */
enum retort_status builder_reorder(struct builder *builder, const char *name, int buffer,
                                   const struct dnn_layout *from, const struct dnn_layout *to,
                                   int *reordered);

/* The same into a buffer that is there; nothing when the two are one. */
enum retort_status builder_reorder_into(struct builder *builder, const char *name, int buffer,
                                        const struct dnn_layout *from, const struct dnn_layout *to,
                                        int target);

/* Add a contribution to the gradient of a value (nothing when the value wants none). */
enum retort_status builder_add_diff(struct value *value, int buffer, bool shared);

/* The same of a gradient of what `view` makes of the value. */
enum retort_status builder_add_diff_view(struct value *value, int buffer,
                                         const struct shortcut *view);

/* One buffer that holds the whole gradient of a unit's output, cut to zero where the gate (a buffer
 * of the same shape, or NO_BUFFER) is not positive, and that may be overwritten: one pass at most.
 * Every value with wants_diff has at least one contribution. */
enum retort_status builder_diff(struct builder *builder, const struct unit *unit, int gate,
                                int *buffer);

/* The first contribution from number `from` on that may be overwritten, else NO_BUFFER. */
int builder_own_diff(const struct value *value, int from);

/* ---- for the executor ---- */

/* builder.c: everything for one executor, up to and without the workspace's offsets. */
enum retort_status builder_run(struct builder *builder);

/* fuse.c: the units of a graph in an order in which they can run, in arena. */
enum retort_status fuse(const struct graph *graph, const struct executor_options *options,
                        struct arena *arena, struct unit **units, int *count);

/* plan.c: offsets for the workspace's buffers such that two that live at the same time do not
 * overlap; *bytes is the size of the whole. */
enum retort_status plan(struct buffer *buffers, int count, size_t *bytes);

#endif
