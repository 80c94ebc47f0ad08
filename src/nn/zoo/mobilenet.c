/* mobilenet.c - depthwise-separable convolutions (Howard et al. 2017), five stages.
 *
 * A 3x3 stem; blocks of a 3x3 depthwise and a 1x1 convolution, each with batch norm and ReLU;
 * global average pooling. Taps: stage1 .. stage5, the last block of each. */
#include "nn/zoo/family.h"

struct mobilenet {
    struct family_common common;
    int depth, stem_stride;
    double width;
    struct int_list widths, blocks, strides;
};

static const struct setting rows[] = {
    FAMILY_ROWS(mobilenet),
    {"depth", SETTING_INT, offsetof(struct mobilenet, depth), 1, 1000, "9",
     "16: blocks 2,1,4,4,3; 9: blocks 1,1,1,2,2"},
    {"width", SETTING_NUMBER, offsetof(struct mobilenet, width), 0.01, 64, "1",
     "factor of all widths"},
    {"widths", SETTING_INTS, offsetof(struct mobilenet, widths), 1, 8192, "32,64,128,256,512,1024",
     "channels of stem and five stages"},
    {"blocks", SETTING_INTS, offsetof(struct mobilenet, blocks), 1, 64, "",
     "blocks of the five stages, instead of depth's"},
    {"strides", SETTING_INTS, offsetof(struct mobilenet, strides), 1, 8, "2,1,2,2,1",
     "of the five stages"},
    {"stem_stride", SETTING_INT, offsetof(struct mobilenet, stem_stride), 1, 8, "1", "of the stem"},
};
static const struct setting_table table = SETTING_TABLE("mobilenet", struct mobilenet, rows);

static enum retort_status conv_bn_relu(struct graph *graph, const char *prefix, const char *conv,
                                       const char *bn, int channels, int kernel, int stride,
                                       int groups, int *node)
{
    TRY(zoo_conv(graph, zoo_name("%s.%s", prefix, conv), channels, kernel, stride, groups, false,
                 node));
    TRY(zoo_batch_norm(graph, zoo_name("%s.%s", prefix, bn), node));
    return zoo_relu(graph, zoo_name("%s.%s_relu", prefix, conv), node);
}

static enum retort_status add_block(struct graph *graph, int stage, int block, int channels,
                                    int stride, int *node)
{
    struct zoo_name prefix = zoo_name("stage%d.block%d", stage, block);
    int in = graph->nodes[*node].shape.c;
    TRY(conv_bn_relu(graph, prefix.text, "dw", "dw_bn", in, 3, stride, in, node));
    return conv_bn_relu(graph, prefix.text, "pw", "pw_bn", channels, 1, 1, 1, node);
}

static enum retort_status check(const struct mobilenet *m)
{
    if (!m->blocks.count && m->depth != 9 && m->depth != 16)
        return fail(RETORT_INVALID, "depth: %d found, 9 or 16 wanted, or blocks", m->depth);
    if (m->blocks.count)
        TRY(zoo_count("blocks", &m->blocks, 5));
    TRY(zoo_count("widths", &m->widths, 6));
    return zoo_count("strides", &m->strides, 5);
}

static enum retort_status build(const void *settings, int classes, struct graph *graph)
{
    static const int deep[] = {2, 1, 4, 4, 3}, shallow[] = {1, 1, 1, 2, 2};
    const struct mobilenet *m = settings;
    int node = 0;
    TRY(check(m));
    const int *blocks = m->blocks.count ? m->blocks.items : m->depth == 16 ? deep : shallow;
    TRY(conv_bn_relu(graph, "stem", "conv", "bn", zoo_width(m->widths.items[0], m->width), 3,
                     m->stem_stride, 1, &node));
    for (int stage = 1; stage <= 5; stage++) {
        int channels = zoo_width(m->widths.items[stage], m->width);
        for (int block = 1; block <= blocks[stage - 1]; block++)
            TRY(add_block(graph, stage, block, channels,
                          block == 1 ? m->strides.items[stage - 1] : 1, &node));
        TRY(graph_tap(graph, zoo_name("stage%d", stage).text, node));
    }
    return zoo_head(graph, classes, &node);
}

const struct network_family family_mobilenet = {
    .name = "mobilenet",
    .help = "depthwise-separable convolutions",
    .settings = &table,
    .build = build,
};
