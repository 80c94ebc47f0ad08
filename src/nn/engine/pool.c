/* pool.c - pooling of either kind as steps. */
#include "nn/engine/pool.h"

struct notes {
    struct dnn_primitive *backward;
    int workspace;
};

enum retort_status pool_forward(struct builder *builder, const struct unit *unit, const char *kind,
                                const struct dnn_pool *windows)
{
    const char *name = builder->graph->nodes[unit->node].name;
    const struct value *src = builder_input(builder, unit, 0);
    struct dnn_primitive *primitive;
    struct dnn_pool what = *windows;
    struct notes *notes;
    struct value *dst;
    TRY(arena_take(builder->arena, sizeof(*notes), (void **)&notes));
    builder->notes[unit->node] = notes;
    TRY(builder_output(builder, unit, false, NO_BUFFER, &dst));
    what.src = src->tensor;
    what.dst = dst->tensor;
    what.train = builder_trains(builder);
    TRY(dnn_pool_create(builder->dnn, &what, &primitive, &notes->backward));
    size_t bytes = dnn_bytes(dnn_wanted(primitive, DNN_WORKSPACE));
    notes->workspace = NO_BUFFER;
    if (bytes > 0)
        TRY(builder_buffer(builder, bytes, &notes->workspace));
    return builder_primitive(
        builder, name,
        &(struct primitive_request){kind,
                                    primitive,
                                    bytes > 0 ? 3 : 2,
                                    {DNN_SRC, DNN_DST, DNN_WORKSPACE},
                                    {src->buffer, dst->buffer, notes->workspace},
                                    0,
                                    (double)(tensor_bytes(&what.src) + tensor_bytes(&what.dst))});
}

enum retort_status pool_backward(struct builder *builder, const struct unit *unit, const char *kind)
{
    const struct notes *notes = builder->notes[unit->node];
    struct value *src = builder_input(builder, unit, 0);
    int diff, diff_src;
    if (!src->wants_diff)
        return RETORT_OK;
    TRY(builder_diff(builder, unit, NO_BUFFER, &diff));
    TRY(builder_buffer(builder, tensor_bytes(&src->tensor), &diff_src));
    TRY(builder_primitive(builder, builder->graph->nodes[unit->node].name,
                          &(struct primitive_request){kind,
                                                      notes->backward,
                                                      notes->workspace == NO_BUFFER ? 2 : 3,
                                                      {DNN_DIFF_DST, DNN_DIFF_SRC, DNN_WORKSPACE},
                                                      {diff, diff_src, notes->workspace},
                                                      0,
                                                      (double)tensor_bytes(&src->tensor)}));
    return builder_add_diff(src, diff_src, false);
}
