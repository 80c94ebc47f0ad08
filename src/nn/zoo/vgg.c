/* vgg.c - plain stacks of 3x3 convolutions (Simonyan and Zisserman 2015), four blocks.
 *
 * Each block: convolutions with bias (+ batch norm) + ReLU, then 2x2 max pooling; after the blocks
 * hidden fully connected layers + ReLU (+ dropout). Taps: block1 .. block4, after the pooling. */
#include "nn/zoo/family.h"

struct vgg {
    struct family_common common;
    int depth;
    double width, dropout;
    struct int_list widths, blocks, hidden;
    bool bn;
};

static const struct setting rows[] = {
    FAMILY_ROWS(vgg),
    {"depth", SETTING_INT, offsetof(struct vgg, depth), 1, 1000, "6",
     "6: blocks 1,1,1,1 and one hidden layer; 11: blocks 2,2,2,2 and two"},
    {"width", SETTING_NUMBER, offsetof(struct vgg, width), 0.01, 64, "1",
     "factor of the blocks' widths"},
    {"widths", SETTING_INTS, offsetof(struct vgg, widths), 1, 8192, "64,128,256,512",
     "channels of the four blocks"},
    {"blocks", SETTING_INTS, offsetof(struct vgg, blocks), 1, 32, "",
     "convolutions of the four blocks, instead of depth's"},
    {"hidden", SETTING_INTS, offsetof(struct vgg, hidden), 0, 65536, "",
     "numbers of the hidden layers, instead of depth's 1024 each; 0: no hidden layer"},
    {"bn", SETTING_FLAG, offsetof(struct vgg, bn), 0, 0, "true",
     "batch norm after each convolution"},
    {"dropout", SETTING_NUMBER, offsetof(struct vgg, dropout), 0, 0.99, "0",
     "rate after each hidden layer"},
};
static const struct setting_table table = SETTING_TABLE("vgg", struct vgg, rows);

static enum retort_status add_block(struct graph *graph, const struct vgg *v, int block, int depth,
                                    int *node)
{
    const struct max_pool_attributes pool = {2, 2};
    int channels = zoo_width(v->widths.items[block - 1], v->width);
    for (int i = 1; i <= depth; i++) {
        TRY(zoo_conv(graph, zoo_name("block%d.conv%d", block, i), channels, 3, 1, 1, true, node));
        if (v->bn)
            TRY(zoo_batch_norm(graph, zoo_name("block%d.bn%d", block, i), node));
        TRY(zoo_relu(graph, zoo_name("block%d.relu%d", block, i), node));
    }
    TRY(graph_add(graph, OP_max_pool, zoo_name("block%d.pool", block).text, node, 1, &pool, node));
    return graph_tap(graph, zoo_name("block%d", block).text, *node);
}

static enum retort_status add_hidden(struct graph *graph, const struct vgg *v, int layer,
                                     int features, int *node)
{
    const struct dropout_attributes dropout = {v->dropout};
    TRY(zoo_linear(graph, zoo_name("hidden%d", layer), features, node));
    TRY(zoo_relu(graph, zoo_name("hidden%d.relu", layer), node));
    if (v->dropout == 0)
        return RETORT_OK;
    return graph_add(graph, OP_dropout, zoo_name("hidden%d.dropout", layer).text, node, 1, &dropout,
                     node);
}

static enum retort_status check(const struct vgg *v)
{
    if (!v->blocks.count && v->depth != 6 && v->depth != 11)
        return fail(RETORT_INVALID, "depth: %d found, 6 or 11 wanted, or blocks (and hidden)",
                    v->depth);
    TRY(zoo_count("widths", &v->widths, 4));
    return v->blocks.count ? zoo_count("blocks", &v->blocks, 4) : RETORT_OK;
}

static enum retort_status build(const void *settings, int classes, struct graph *graph)
{
    const struct vgg *v = settings;
    int node = 0;
    TRY(check(v));
    for (int block = 1; block <= 4; block++)
        TRY(add_block(graph, v, block,
                      v->blocks.count  ? v->blocks.items[block - 1]
                      : v->depth == 11 ? 2
                                       : 1,
                      &node));
    const bool none = v->hidden.count == 1 && v->hidden.items[0] == 0;
    int layers = none ? 0 : v->hidden.count ? v->hidden.count : v->depth == 11 ? 2 : 1;
    for (int layer = 1; layer <= layers; layer++)
        TRY(add_hidden(graph, v, layer, v->hidden.count ? v->hidden.items[layer - 1] : 1024,
                       &node));
    return zoo_linear(graph, zoo_name("fc"), classes, &node);
}

const struct network_family family_vgg = {
    .name = "vgg",
    .help = "plain stacks of 3x3 convolutions",
    .settings = &table,
    .build = build,
};
